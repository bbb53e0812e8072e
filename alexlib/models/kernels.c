/* Response normalisation across maps (section 3.3) for beta = 3/4, in one pass over memory each way.
 *
 *   forward:   y = a d^(-3/4),  d = k + alpha * window(a^2),  a = x, or max(x, 0) where `rectify`
 *   backward:  da = g d^(-3/4) - 3/2 alpha a window(g a d^(-7/4)),  dx = da, or 0 where `rectify` and x <= 0
 *
 * Arrays hold `n` rows of `maps` values (one tower at one position of a channels-last image), float32 or bfloat16;
 * values in between are float32 and stay in the first-level cache. `threads` share the rows. alexlib/models/native.py
 * builds this file and calls it.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define MAPS 1024 /* at most; fast.py has the same two numbers */
#define HALF 16   /* half a window at most: each row has this many zeros on both sides */

typedef float f32;
typedef uint16_t bf16;

static inline float wide_f32(f32 value) { return value; }
static inline f32 narrow_f32(float value) { return value; }

static inline float wide_bf16(bf16 value) {
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}

static inline bf16 narrow_bf16(float value) { /* to the nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

#define INLINE static inline __attribute__((always_inline))

INLINE float window(const float *values, long map, int half) {
    float sum = 0;
    for (int j = -half; j <= half; j++) sum += values[map + j];
    return sum;
}

/* For T in f32, bf16: lrn_forward_T and lrn_backward_T. The paper's window of 5 maps is unrolled. */
#define LRN(T)                                                                                                         \
    INLINE void forward_##T(const T *x, T *y, long n, long maps, int half, int rectify, float k, float alpha) {        \
        float padded[MAPS + 2 * HALF] = {0}, *squares = padded + HALF, a[MAPS];                                        \
        for (const T *end = x + n * maps; x < end; x += maps, y += maps) {                                             \
            for (long i = 0; i < maps; i++) {                                                                          \
                float value = wide_##T(x[i]);                                                                          \
                a[i] = rectify && value < 0 ? 0 : value;                                                               \
                squares[i] = a[i] * a[i];                                                                              \
            }                                                                                                          \
            for (long i = 0; i < maps; i++) {                                                                          \
                float root = 1 / sqrtf(k + alpha * window(squares, i, half));                                          \
                y[i] = narrow_##T(a[i] * (root * sqrtf(root)));                                                        \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    INLINE void backward_##T(const T *x, const T *g, T *dx, long n, long maps, int half, int rectify, float k,         \
                             float alpha) {                                                                            \
        float padded[2][MAPS + 2 * HALF] = {0}, *squares = padded[0] + HALF, *spread = padded[1] + HALF;               \
        float a[MAPS], scaled[MAPS];                                                                                   \
        for (const T *end = x + n * maps; x < end; x += maps, g += maps, dx += maps) {                                 \
            for (long i = 0; i < maps; i++) {                                                                          \
                float value = wide_##T(x[i]);                                                                          \
                a[i] = rectify && value < 0 ? 0 : value;                                                               \
                squares[i] = a[i] * a[i];                                                                              \
            }                                                                                                          \
            for (long i = 0; i < maps; i++) {                                                                          \
                float root = 1 / sqrtf(k + alpha * window(squares, i, half));                                          \
                scaled[i] = wide_##T(g[i]) * (root * sqrtf(root));                                                     \
                spread[i] = scaled[i] * a[i] * (root * root);                                                          \
            }                                                                                                          \
            for (long i = 0; i < maps; i++) {                                                                          \
                float da = scaled[i] - 1.5f * alpha * a[i] * window(spread, i, half);                                  \
                dx[i] = narrow_##T(rectify && a[i] <= 0 ? 0 : da);                                                     \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    void lrn_forward_##T(const T *x, T *y, long n, long maps, int half, int rectify, float k, float alpha,             \
                         int threads) {                                                                                \
        _Pragma("omp parallel for num_threads(threads)") for (int i = 0; i < threads; i++) {                           \
            long first = n * i / threads, rows = n * (i + 1) / threads - first, at = first * maps;                     \
            if (half == 2 && rectify)                                                                                  \
                forward_##T(x + at, y + at, rows, maps, 2, 1, k, alpha);                                               \
            else if (half == 2)                                                                                        \
                forward_##T(x + at, y + at, rows, maps, 2, 0, k, alpha);                                               \
            else                                                                                                       \
                forward_##T(x + at, y + at, rows, maps, half, rectify, k, alpha);                                      \
        }                                                                                                              \
    }                                                                                                                  \
    void lrn_backward_##T(const T *x, const T *g, T *dx, long n, long maps, int half, int rectify, float k,            \
                          float alpha, int threads) {                                                                  \
        _Pragma("omp parallel for num_threads(threads)") for (int i = 0; i < threads; i++) {                           \
            long first = n * i / threads, rows = n * (i + 1) / threads - first, at = first * maps;                     \
            if (half == 2 && rectify)                                                                                  \
                backward_##T(x + at, g + at, dx + at, rows, maps, 2, 1, k, alpha);                                     \
            else if (half == 2)                                                                                        \
                backward_##T(x + at, g + at, dx + at, rows, maps, 2, 0, k, alpha);                                     \
            else                                                                                                       \
                backward_##T(x + at, g + at, dx + at, rows, maps, half, rectify, k, alpha);                            \
        }                                                                                                              \
    }

LRN(f32)
LRN(bf16)
