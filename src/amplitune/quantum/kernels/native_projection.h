/* The readouts of a few tokens projected up and added to the output of a base layer: y = base + s (W z + b).
   Included by native.c once for float and once for double, as native_kernel.h is. */

/* Sums are made in REAL and rounded once; type says what base and out hold. */
static void N(project)(const REAL *restrict z, const REAL *restrict weight, const REAL *restrict bias, REAL scaling,
                       const void *base, void *out, int type, int64_t d_out, int64_t columns) {
  for (int64_t first = 0; first < d_out; first += 4) {
    const int64_t count = d_out - first < 4 ? d_out - first : 4;
    REAL sums[4] = {0};
    const REAL *row = weight + first * columns;
    if (count == 4)
      /* Four sums beside each other: one alone would wait for each of its additions. */
      for (int64_t k = 0; k < columns; k++)
        for (int i = 0; i < 4; i++) sums[i] += row[i * columns + k] * z[k];
    else
      for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < columns; k++) sums[i] += row[i * columns + k] * z[k];
    for (int64_t i = 0, o = first; i < count; i++, o++) {
      const REAL added = scaling * (bias ? sums[i] + bias[o] : sums[i]);
      if (type == BFLOAT16) {
        union {
          uint32_t bits;
          float value;
        } wide = {.bits = (uint32_t)((const uint16_t *)base)[o] << 16};
        wide.value = (float)(wide.value + added);
        /* To the nearest, ties to even; a NaN stays one. */
        const uint32_t rounded = (wide.bits + 0x7FFFu + (wide.bits >> 16 & 1)) >> 16;
        ((uint16_t *)out)[o] = wide.value != wide.value ? 0x7FC0u : (uint16_t)rounded;
#if defined(__FLT16_MAX__)
      } else if (type == FLOAT16) {
        ((_Float16 *)out)[o] = (_Float16)((REAL)((const _Float16 *)base)[o] + added);
#endif
      } else {
        ((REAL *)out)[o] = ((const REAL *)base)[o] + added;
      }
    }
  }
}
