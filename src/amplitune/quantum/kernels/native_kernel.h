/* The steps of one token: load, rotate, fold into the readouts, and each of them backwards. Included by native.c
   once with REAL float and once with REAL double; N(name) tells the two apart. */

typedef REAL N(vector) __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef BITS N(index) __attribute__((vector_size(VECTOR_BYTES)));
#define V N(vector)

/* One block of rotations of one circuit. With c and s the cosine and sine of half an angle, and K = RY(pi),

     RY = c (1 + u K), u = s/c   where |s| <= |c|,     RY = s K (1 + u K), u = -c/s   elsewhere.

   So |u| <= 1, and an amplitude costs one fused multiply-add per wire. The factors leave the block as one number;
   behind the last block it cancels in z. The K leave it as a mask: K on some wires is X on them, with the sign
   (-1)^|i & mask| up to one of the whole state, which is why it can wait for the next permutation or readout. */
typedef struct {
  V lane_u[LANE_BITS];
  REAL u[MOST_BITS];
  REAL factor;
  uint32_t mask;
} N(Block);

INLINE V N(swap)(V v, int bit) {
  switch (bit) {
#define CASE(b) return SHUFFLE(v, N(index), JOIN(LANES_, LANES)(b))
    case 0: CASE(1);
#if LANE_BITS > 1
    case 1: CASE(2);
#endif
#if LANE_BITS > 2
    case 2: CASE(4);
#endif
#if LANE_BITS > 3
    case 3: CASE(8);
#endif
#undef CASE
  }
  return v;
}

/* Lane signs: -1 where the bit of the lane's number is clear. */
INLINE V N(lane_sign)(int bit) {
  V sign = {0};
  UNROLL for (int lane = 0; lane < LANES; lane++) sign[lane] = lane >> bit & 1 ? 1 : -1;
  return sign;
}

static void N(prepare)(N(Block) * block, const REAL *angles, int n_qubits, int bits) {
  double factor = 1;
  block->mask = 0;
  for (int bit = 0; bit < bits; bit++) {
    double u = 0;
    if (bit < n_qubits) {
      double c = cos(0.5 * angles[n_qubits - 1 - bit]), s = sin(0.5 * angles[n_qubits - 1 - bit]);
      if (fabs(s) > fabs(c)) {
        u = -c / s;
        factor *= s;
        block->mask |= 1u << bit;
      } else {
        u = s / c;
        factor *= c;
      }
    }
    block->u[bit] = (REAL)u;
    if (bit < LANE_BITS) block->lane_u[bit] = N(lane_sign)(bit) * (REAL)u;
  }
  block->factor = (REAL)factor;
}

/* Loads a row, padded with zeros, and finds the power of two that brings its largest magnitude into [1, 2). */
static REAL N(load)(REAL *restrict to, const void *restrict row, int type, int64_t features, int64_t width) {
  BITS largest = 0;
#define CONVERT(FROM, EXPRESSION)                                                  \
  {                                                                                \
    const FROM *restrict from = row;                                               \
    for (int64_t i = 0; i < features; i++) {                                       \
      REAL value = (REAL)(EXPRESSION);                                             \
      BITS bits;                                                                   \
      memcpy(&bits, &value, sizeof bits);                                          \
      bits &= ~(BITS)0 >> 1;                                                       \
      largest = bits > largest ? bits : largest;                                   \
      to[i] = value;                                                               \
    }                                                                              \
  }
  if (type == FLOAT32) {
    CONVERT(float, from[i])
  } else if (type == FLOAT64) {
    CONVERT(double, from[i])
  } else if (type == BFLOAT16) {
    CONVERT(uint16_t, ((union { uint32_t bits; float value; }){(uint32_t)from[i] << 16}).value)
  } else {
#if defined(__FLT16_MAX__)
    CONVERT(_Float16, from[i])
#endif
  }
#undef CONVERT
  for (int64_t i = features; i < width; i++) to[i] = 0;
  BITS exponent = largest >> MANTISSA;
  BITS scale = (exponent >= EXPONENT - 1 ? 1 : EXPONENT - 1 - exponent) << MANTISSA;
  REAL value;
  memcpy(&value, &scale, sizeof value);
  return value;
}

static void N(save)(void *restrict row, const REAL *restrict from, int type, int64_t features) {
  if (type == FLOAT32) {
    float *to = row;
    for (int64_t i = 0; i < features; i++) to[i] = (float)from[i];
  } else if (type == FLOAT64) {
    double *to = row;
    for (int64_t i = 0; i < features; i++) to[i] = (double)from[i];
  } else if (type == BFLOAT16) {
    uint16_t *to = row;
    for (int64_t i = 0; i < features; i++) {
      float value = (float)from[i];
      uint32_t bits;
      memcpy(&bits, &value, sizeof bits);
      /* To nearest, ties to even; a NaN could carry over into an infinity. */
      uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
      to[i] = (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FC0 : rounded);
    }
  } else {
#if defined(__FLT16_MAX__)
    _Float16 *to = row;
    for (int64_t i = 0; i < features; i++) to[i] = (_Float16)from[i];
#endif
  }
}

/* out = B~ factor in, for the wires of one pass: `radix` wires from the one of stride `stride` vectors, and with
   `lanes` also those inside a vector. */
INLINE void N(rotate_)(int radix, int lanes, V *out, const V *in, int count, int stride, REAL factor,
                       const N(Block) * block, const REAL *u, Ahead *ahead) {
  const int size = 1 << radix;
  for (int top = 0; top < count; top += stride << radix)
    for (int i = top; i < top + stride; i++) {
      V a[1 << WIDEST];
      fetch(ahead);
      UNROLL for (int k = 0; k < size; k++) {
        a[k] = in[i + k * stride];
        if (lanes) a[k] *= factor;
      }
      UNROLL for (int b = 0; b < radix; b++) UNROLL for (int k = 0; k < size; k++) if (!(k >> b & 1)) {
        V low = a[k], high = a[k | 1 << b];
        a[k] = low - u[b] * high;
        a[k | 1 << b] = high + u[b] * low;
      }
      if (lanes)
        UNROLL for (int b = 0; b < LANE_BITS; b++) UNROLL for (int k = 0; k < size; k++)
          a[k] += block->lane_u[b] * N(swap)(a[k], b);
      UNROLL for (int k = 0; k < size; k++) out[i + k * stride] = a[k];
    }
}

INLINE void N(flush)(double *sums, V sum) {
  UNROLL for (int b = 0; b < LANE_BITS; b++) sum += N(swap)(sum, b);
  *sums += (double)sum[0];
}

/* Backwards through one pass: adds sum (lambda_1 psi_0 - lambda_0 psi_1) per wire to `sums`, with psi and lambda
   just after the pass, and brings lambda before it: lambda = factor B~^T lambda. */
INLINE void N(unrotate_)(int radix, int lanes, V *lambda, const V *psi, int count, int stride, REAL factor,
                         const N(Block) * block, const REAL *u, double *sums, double *lane_sums, Ahead *ahead) {
  const int size = 1 << radix;
  V sum[WIDEST] = {{0}}, lane_sum[LANE_BITS] = {{0}};
  for (int top = 0; top < count; top += stride << radix)
    for (int i = top; i < top + stride; i++) {
      V a[1 << WIDEST];
      const V *p = psi + i;
      fetch(ahead);
      UNROLL for (int k = 0; k < size; k++) a[k] = lambda[i + k * stride];
      /* Two wires at a time, reading psi again for the next two: there are no registers for all of it. */
      UNROLL for (int pair = 0; pair < radix; pair += 2) {
        UNROLL for (int k = 0; k < size; k++) if (!(k >> pair & 3)) {
          UNROLL for (int which = 0; which < 8; which++) {
            int b = pair + (which & 1), low = k | which >> 1 << pair, high = low | 1 << b;
            if (b >= radix || low >> b & 1 || low >= size) continue;
            sum[b] += a[high] * p[low * stride];
            sum[b] -= a[low] * p[high * stride];
          }
        }
        REREAD;
      }
      if (lanes)
        UNROLL for (int b = 0; b < LANE_BITS; b++) UNROLL for (int k = 0; k < size; k++)
          lane_sum[b] += a[k] * N(swap)(p[k * stride], b);
      UNROLL for (int b = 0; b < radix; b++) UNROLL for (int k = 0; k < size; k++) if (!(k >> b & 1)) {
        V low = a[k], high = a[k | 1 << b];
        a[k] = low + u[b] * high;
        a[k | 1 << b] = high - u[b] * low;
      }
      if (lanes)
        UNROLL for (int b = 0; b < LANE_BITS; b++) UNROLL for (int k = 0; k < size; k++)
          a[k] -= block->lane_u[b] * N(swap)(a[k], b);
      UNROLL for (int k = 0; k < size; k++) {
        if (lanes) a[k] *= factor;
        lambda[i + k * stride] = a[k];
      }
    }
  UNROLL for (int b = 0; b < radix; b++) N(flush)(sums + b, sum[b]);
  if (lanes)
    UNROLL for (int b = 0; b < LANE_BITS; b++) N(flush)(lane_sums + b, lane_sum[b] * N(lane_sign)(b));
}

/* A folding step takes the sums over the `radix` most significant wires left, under each pattern of signs that
   `wanted` has a bit for: out = in_0 +- in_1 ... , `length` vectors each; `square`: of the squares. */
INLINE void N(hadamard)(int radix, V *a) {
  UNROLL for (int b = 0; b < radix; b++) UNROLL for (int k = 0; k < 1 << radix; k++) if (!(k >> b & 1)) {
    V low = a[k], high = a[k | 1 << b];
    a[k] = low + high;
    a[k | 1 << b] = low - high;
  }
}

INLINE void N(fold_)(int radix, int square, V *out, const V *in, int length, int wanted) {
  for (int i = 0; i < length; i++) {
    V a[1 << WIDEST], *to = out + i;
    UNROLL for (int k = 0; k < 1 << radix; k++) {
      a[k] = in[i + k * length];
      if (square) a[k] *= a[k];
    }
    N(hadamard)(radix, a);
    UNROLL for (int k = 0; k < 1 << radix; k++) if (wanted >> k & 1) {
      *to = a[k];
      to += length;
    }
  }
}

/* The transpose: from a weight per sum to a weight per amplitude; with `square` times psi. */
INLINE void N(unfold_)(int radix, int square, V *out, const V *in, const V *psi, int length, int wanted) {
  for (int i = 0; i < length; i++) {
    V a[1 << WIDEST];
    const V *from = in + i;
    UNROLL for (int k = 0; k < 1 << radix; k++) {
      a[k] = (V){0};
      if (wanted >> k & 1) {
        a[k] = *from;
        from += length;
      }
    }
    N(hadamard)(radix, a);
    UNROLL for (int k = 0; k < 1 << radix; k++) {
      if (square) a[k] *= psi[i + k * length];
      out[i + k * length] = a[k];
    }
  }
}
