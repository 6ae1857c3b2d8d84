"""Put a QAA adapter into a causal language model, train it for one step, save it, load it again."""

import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from amplitune import QAAConfig, count_parameters
from amplitune.zoo import MODEL_PATH  # or the hub id of any causal language model

tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
config = QAAConfig(target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
model = get_peft_model(AutoModelForCausalLM.from_pretrained(MODEL_PATH), config)
print(count_parameters(model))  # angles and classical weights apart
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
batch = tokenizer("Adapters are small.", return_tensors="pt")
model(**batch, labels=batch.input_ids).loss.backward()
optimizer.step()
model.save_pretrained("quickstart-adapter")
loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(MODEL_PATH), "quickstart-adapter")
print(torch.equal(loaded(**batch).logits, model.eval()(**batch).logits))  # True
