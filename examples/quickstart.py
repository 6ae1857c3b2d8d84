"""Put a QAA adapter into a causal language model, train it for one step, save it, load it again."""

import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from amplitune import QAAConfig, count_parameters
from amplitune.zoo import MODEL_PATH

tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
config = QAAConfig(target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
model = get_peft_model(AutoModelForCausalLM.from_pretrained(MODEL_PATH), config)
print(count_parameters(model))

input_ids = tokenizer("Adapters are small.", return_tensors="pt").input_ids
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
loss = model(input_ids=input_ids, labels=input_ids).loss
loss.backward()
optimizer.step()
print(f"loss before the step {loss:.4f}, after {model(input_ids=input_ids, labels=input_ids).loss:.4f}")

model.save_pretrained("quickstart-adapter")
loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(MODEL_PATH), "quickstart-adapter")
same = torch.equal(loaded(input_ids).logits, model.eval()(input_ids).logits)
print(f"loaded from quickstart-adapter, same logits: {same}")
