/* One token after another through the steps of native_kernel.h. Included by native.c as that file is. */

#if WIDEST > 3
#define WIDE(CALL) case 4: CALL(4); break;
#else
#define WIDE(CALL)
#endif
#define BY_RADIX(radix, CALL) \
  switch (radix) {            \
    case 0: CALL(0); break;   \
    case 1: CALL(1); break;   \
    case 2: CALL(2); break;   \
    case 3: CALL(3); break;   \
    WIDE(CALL)                \
  }

/* One pass of a block: number 0 has the lanes and the factor. */
static void N(rotate)(const Tables *t, int pass, V *out, const V *in, REAL factor, const N(Block) * block,
                      Ahead *ahead) {
  int count = 1 << (t->bits - LANE_BITS), bit = LANE_BITS;
  for (int before = 0; before < pass; before++) bit += t->radix[before];
  int stride = 1 << (bit - LANE_BITS);
#define FIRST(r) N(rotate_)(r, 1, out, in, count, 1, factor, block, block->u + LANE_BITS, ahead)
#define LATER(r) N(rotate_)(r, 0, out, in, count, stride, 1, block, block->u + bit, ahead)
  if (pass == 0)
    BY_RADIX(t->radix[pass], FIRST)
  else
    BY_RADIX(t->radix[pass], LATER)
#undef FIRST
#undef LATER
}

static void N(unrotate)(const Tables *t, int pass, V *lambda, const V *psi, REAL factor, const N(Block) * block,
                        double *sums, Ahead *ahead) {
  int count = 1 << (t->bits - LANE_BITS), bit = LANE_BITS;
  for (int before = 0; before < pass; before++) bit += t->radix[before];
  int stride = 1 << (bit - LANE_BITS);
#define FIRST(r) \
  N(unrotate_)(r, 1, lambda, psi, count, 1, factor, block, block->u + LANE_BITS, sums + LANE_BITS, sums, ahead)
#define LATER(r) N(unrotate_)(r, 0, lambda, psi, count, stride, 1, block, block->u + bit, sums + bit, sums, ahead)
  if (pass == 0)
    BY_RADIX(t->radix[pass], FIRST)
  else
    BY_RADIX(t->radix[pass], LATER)
#undef FIRST
#undef LATER
}

/* The sums under all signs inside each leaf: lane m gets the sum with the signs (-1)^|lane & m|. */
static void N(leaves)(const Tables *t, V *work) {
  for (int leaf = 0; leaf < t->leaves; leaf++) {
    V a = work[leaf];
    UNROLL for (int b = 0; b < LANE_BITS; b++) a = N(swap)(a, b) - a * N(lane_sign)(b);
    work[leaf] = a;
  }
}

static void N(fold)(const Tables *t, V *work, const V *psi) {
  for (int step = 0; step < t->n_steps; step++) {
    const int32_t *s = t->steps + 5 * step;
#define FIRST(r) N(fold_)(r, 1, work + s[3], psi, s[1], s[4])
#define LATER(r) N(fold_)(r, 0, work + s[3], work + s[2], s[1], s[4])
    if (s[2] < 0)
      BY_RADIX(s[0], FIRST)
    else
      BY_RADIX(s[0], LATER)
#undef FIRST
#undef LATER
  }
  N(leaves)(t, work);
}

static void N(unfold)(const Tables *t, V *work, V *lambda, const V *psi) {
  N(leaves)(t, work);
  for (int step = t->n_steps - 1; step >= 0; step--) {
    const int32_t *s = t->steps + 5 * step;
#define FIRST(r) N(unfold_)(r, 1, lambda, work + s[3], psi, s[1], s[4])
#define LATER(r) N(unfold_)(r, 0, work + s[2], work + s[3], psi, s[1], s[4])
    if (s[2] < 0)
      BY_RADIX(s[0], FIRST)
    else
      BY_RADIX(s[0], LATER)
#undef FIRST
#undef LATER
  }
}

/* E behind a block whose K are in `mask`; the sign of an amplitude is that of E and of K. */
INLINE REAL N(between_sign)(const Tables *t, int i, int from, uint32_t mask) {
  int odd = __builtin_parity((uint32_t)from & mask);
  return (odd ? -1 : 1) * (t->sign ? (REAL)t->sign[i] : 1);
}

static void N(between)(const Tables *t, REAL *restrict out, const REAL *restrict in, uint32_t mask) {
  int size = 1 << t->bits;
  if (!mask && !t->sign)
    for (int i = 0; i < size; i++) out[i] = in[t->source[i]];
  else
    for (int i = 0; i < size; i++) {
      int from = t->source[i];
      out[i] = N(between_sign)(t, i, from, mask) * in[from ^ (int)mask];
    }
}

static void N(between_back)(const Tables *t, REAL *restrict out, const REAL *restrict in, uint32_t mask) {
  int size = 1 << t->bits;
  if (!mask && !t->sign)
    for (int i = 0; i < size; i++) out[t->source[i]] = in[i];
  else
    for (int i = 0; i < size; i++) {
      int from = t->source[i];
      out[from ^ (int)mask] = N(between_sign)(t, i, from, mask) * in[i];
    }
}

/* The sign of a word behind the last block, whose K turn over the Z on their wires. */
INLINE REAL N(sign_of)(const Tables *t, int word, uint32_t mask) {
  return __builtin_parity((uint32_t)t->word[word] & mask) ? -t->word_sign[word] : t->word_sign[word];
}

/* z from the folded state; returns the squared norm N. */
static REAL N(read)(const Tables *t, const V *work, uint32_t mask, REAL *z) {
  const REAL *sum = (const REAL *)work, norm = sum[t->place[t->n_words]];
  for (int k = 0; k < t->n_words; k++) z[k] = norm == 0 ? 0 : N(sign_of)(t, k, mask) * sum[t->place[k]] / norm;
  return norm;
}

/* What `unfold` starts from so that lambda = 2/N psi (sum_k g_k signs_k - sum_k g_k z_k), with g = dL/dz. */
static void N(seed)(const Tables *t, V *work, uint32_t mask, REAL norm, const REAL *z, const REAL *grad) {
  REAL *sum = (REAL *)work, mean = 0;
  memset(work, 0, sizeof(V) * t->leaves);
  if (norm == 0) return;
  const REAL factor = 2 / norm;
  for (int k = 0; k < t->n_words; k++) {
    sum[t->place[k]] += factor * N(sign_of)(t, k, mask) * grad[k];
    mean += grad[k] * z[k];
  }
  sum[t->place[t->n_words]] -= factor * mean;
}

/* Tokens first..last-1. `sums`: (circuits, blocks, bits), added to. */
static void N(work)(const Call *call, int64_t first, int64_t last, double *sums, int *failed) {
  const Tables *t = call->tables;
  const int backward = call->dangles != NULL, passes = t->passes, blocks = t->blocks, words = t->n_words;
  const int64_t size = (int64_t)1 << t->bits, vectors = size / LANES;
  /* Backward needs the state after each pass again; forward overwrites it. */
  const int64_t states = backward ? (int64_t)blocks * passes : 1;
  const int64_t rows = 3 + states; /* the loaded row, E's output, lambda */
  const size_t block_bytes = sizeof(N(Block)) * blocks * call->circuits;
  char *memory = scratch(sizeof(REAL) * size * (rows + 1) + sizeof(V) * t->work + block_bytes);
  if (!memory) {
    *failed = 1;
    return;
  }
  V *row = (V *)memory, *other = row + vectors, *lambda = other + vectors, *dx = lambda + vectors,
    *kept = dx + vectors, *work = kept + states * vectors;
  N(Block) *all_blocks = (N(Block) *)(work + t->work);
  for (int i = 0; i < call->circuits * blocks; i++)
    N(prepare)(all_blocks + i, (const REAL *)call->angles + (int64_t)i * t->n_qubits, t->n_qubits, t->bits);
  const int64_t x_size = call->x_type == FLOAT64 ? 8 : call->x_type == FLOAT32 ? 4 : 2;
  const int64_t row_bytes = call->features * x_size;
  int64_t groups = 0;
  for (int pass = 0; pass < passes; pass++) groups += vectors >> t->radix[pass];
  const int64_t step = row_bytes / groups + 63;
  for (int64_t token = first; token < last; token++) {
    const char *from = (const char *)call->x + token * call->row_stride * x_size;
    REAL scale = N(load)((REAL *)row, from, call->x_type, call->features, size);
    const char *next = from + call->row_stride * x_size;
    char *dx_row = call->dx ? (char *)call->dx + token * row_bytes : NULL;
    Ahead next_x = {next, token + 1 < last ? next + row_bytes : next, step, 0};
    Ahead own_dx = {dx_row, call->dx ? dx_row + row_bytes : NULL, step, 1};
    for (int circuit = 0; circuit < call->circuits; circuit++) {
      const N(Block) *block = all_blocks + circuit * blocks;
      const V *in = row;
      V *psi = kept;
      for (int j = 0; j < blocks; j++) {
        if (j) {
          N(between)(t, (REAL *)other, (REAL *)psi, block[j - 1].mask);
          in = other;
        }
        for (int pass = 0; pass < passes; pass++) {
          if (backward) psi = kept + (j * passes + pass) * vectors;
          N(rotate)(t, pass, psi, in, j ? block[j - 1].factor : scale, block + j,
                    backward ? &own_dx : &next_x);
          in = psi;
        }
      }
      const uint32_t mask = block[blocks - 1].mask;
      const int64_t at = (token * call->circuits + circuit) * words;
      REAL *z = (REAL *)call->z + at;
      N(fold)(t, work, psi);
      const REAL norm = N(read)(t, work, mask, z);
      if (!backward) continue;
      N(seed)(t, work, mask, norm, z, (const REAL *)call->grad_z + at);
      N(unfold)(t, work, lambda, psi);
      for (int j = blocks - 1; j >= 0; j--) {
        double *into = sums + (circuit * blocks + j) * t->bits;
        for (int pass = passes - 1; pass >= 0; pass--)
          N(unrotate)(t, pass, lambda, kept + (j * passes + pass) * vectors, j ? block[j - 1].factor : scale,
                      block + j, into, &next_x);
        if (j) {
          N(between_back)(t, (REAL *)other, (REAL *)lambda, block[j - 1].mask);
          V *free_row = lambda;
          lambda = other;
          other = free_row;
        }
      }
      if (call->dx && call->circuits > 1)
        for (int64_t i = 0; i < vectors; i++) {
          if (circuit == 0) dx[i] = (V){0};
          dx[i] += lambda[i];
        }
    }
    if (call->dx) N(save)(dx_row, (REAL *)(call->circuits > 1 ? dx : lambda), call->x_type, call->features);
  }
}

#undef V
#undef WIDE
#undef BY_RADIX
