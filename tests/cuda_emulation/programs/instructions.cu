// Single instructions as functions of the host, for tests that know what they should give.
#include "cuda/device/language.cuh"
#include "cuda/device/launch.cuh"
#include "cuda/device/ptx.cuh"
#include "cuda/device/shared.cuh"

namespace gatentk::cuda {

namespace {

constexpr int lanes = 32;
constexpr unsigned whole_warp = 0xffffffffu;

template <class Result, class Operand, int results, int left, int right>
using Multiply = void (*)(Result (&)[results], const Operand (&)[left], const Operand (&)[right]);

void multiply_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  mma_tf32(d, a, b);
}
void multiply_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  mma_bf16(d, a, b);
}
void multiply_f64(double (&d)[2], const double (&a)[1], const double (&b)[1]) {
  mma_f64(d, a[0], b[0]);
}
void multiply_bits(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  mma_and_popc(d, a, b);
}

// Fragments are [lane][element].
template <class Result, class Operand, int results, int left, int right,
          Multiply<Result, Operand, results, left, right> multiply>
__global__ void warp_product(const Operand* a, const Operand* b, Result* d) {
  const int lane = static_cast<int>(threadIdx.x);
  Result sums[results];
  Operand lefts[left], rights[right];
  for (int e = 0; e < results; ++e) sums[e] = d[lane * results + e];
  for (int e = 0; e < left; ++e) lefts[e] = a[lane * left + e];
  for (int e = 0; e < right; ++e) rights[e] = b[lane * right + e];
  multiply(sums, lefts, rights);
  for (int e = 0; e < results; ++e) d[lane * results + e] = sums[e];
}

template <bool transposed>
__global__ void matrix_load(const unsigned* words, const int* rows, unsigned* out) {
  constexpr int row_words = 4, all_rows = 32;
  SharedArena arena;
  const Shared<unsigned> s = arena.take<unsigned>(all_rows * row_words);
  const int lane = static_cast<int>(threadIdx.x);
  for (int word = 0; word < row_words; ++word) s[row_words * lane + word] = words[row_words * lane + word];
  __syncthreads();
  unsigned r[4];
  if constexpr (transposed)
    load_matrix_x4_transposed(r, s, row_words * rows[lane]);
  else
    load_matrix_x4(r, s, row_words * rows[lane]);
  for (int j = 0; j < 4; ++j) out[lane * 4 + j] = r[j];
}

enum class ShuffleKind : int { from, exchange, down, up };

__global__ void shuffle(ShuffleKind kind, const double* values, const int* arguments, int width, double* out) {
  const double value = values[threadIdx.x];
  const int argument = arguments[threadIdx.x];
  double result = 0;
  if (kind == ShuffleKind::from) result = __shfl_sync(whole_warp, value, argument, width);
  if (kind == ShuffleKind::exchange) result = __shfl_xor_sync(whole_warp, value, argument, width);
  if (kind == ShuffleKind::down) result = __shfl_down_sync(whole_warp, value, static_cast<unsigned>(argument), width);
  if (kind == ShuffleKind::up) result = __shfl_up_sync(whole_warp, value, static_cast<unsigned>(argument), width);
  out[threadIdx.x] = result;
}

// Votes of lanes with the same parity among each other, then of the whole block.
__global__ void votes(const int* predicates, unsigned* out) {
  const int lane = static_cast<int>(threadIdx.x) % lanes, predicate = predicates[threadIdx.x];
  const unsigned mask = lane % 2 == 0 ? 0x55555555u : 0xaaaaaaaau;
  unsigned* mine = out + 6 * threadIdx.x;
  mine[0] = __ballot_sync(mask, predicate);
  mine[1] = static_cast<unsigned>(__any_sync(mask, predicate));
  mine[2] = static_cast<unsigned>(__all_sync(mask, predicate));
  mine[3] = static_cast<unsigned>(__syncthreads_count(predicate));
  mine[4] = static_cast<unsigned>(__syncthreads_or(predicate));
  mine[5] = static_cast<unsigned>(__syncthreads_and(predicate));
}

__global__ void indices(unsigned* out, unsigned* visits) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  out[block * blockDim.x + threadIdx.x] = block * 1000 + threadIdx.x;
  visits[block * blockDim.x + threadIdx.x] += 1;
}

// out[i] = values[rows[i]], reached from the last element by a negative stride.
__global__ void strided_reads(const double* values, int count, const int* rows, double* out) {
  out[threadIdx.x] = *strided(values + count - 1, count - 1 - rows[threadIdx.x], -static_cast<int>(sizeof(double)));
}

__global__ void roundings(const float* x, unsigned* tf32, unsigned* bfloat16, float* root) {
  tf32[threadIdx.x] = to_tf32(__float_as_uint(x[threadIdx.x]));
  bfloat16[threadIdx.x] = __bfloat16_as_ushort(__float2bfloat16_rn(x[threadIdx.x]));
  root[threadIdx.x] = approximate_sqrt(x[threadIdx.x]);
}

}  // namespace

}  // namespace gatentk::cuda

#define GATENTK_EXPORT extern "C" __attribute__((visibility("default")))

using namespace gatentk::cuda;

GATENTK_EXPORT void mma_tf32(const unsigned* a, const unsigned* b, float* d) {
  launch(&warp_product<float, unsigned, 4, 4, 2, &multiply_tf32>, "mma_tf32", {dim3(1), lanes, 0, nullptr}, a, b, d);
}
GATENTK_EXPORT void mma_bf16(const unsigned* a, const unsigned* b, float* d) {
  launch(&warp_product<float, unsigned, 4, 4, 2, &multiply_bf16>, "mma_bf16", {dim3(1), lanes, 0, nullptr}, a, b, d);
}
GATENTK_EXPORT void mma_f64(const double* a, const double* b, double* d) {
  launch(&warp_product<double, double, 2, 1, 1, &multiply_f64>, "mma_f64", {dim3(1), lanes, 0, nullptr}, a, b, d);
}
GATENTK_EXPORT void mma_and_popc(const unsigned* a, const unsigned* b, int* d) {
  launch(&warp_product<int, unsigned, 4, 4, 2, &multiply_bits>, "mma_and_popc", {dim3(1), lanes, 0, nullptr}, a, b, d);
}
GATENTK_EXPORT void load_matrix_x4(const unsigned* words, const int* rows, unsigned* out) {
  launch(&matrix_load<false>, "load_matrix_x4", {dim3(1), lanes, 512, nullptr}, words, rows, out);
}
GATENTK_EXPORT void load_matrix_x4_transposed(const unsigned* words, const int* rows, unsigned* out) {
  launch(&matrix_load<true>, "load_matrix_x4_transposed", {dim3(1), lanes, 512, nullptr}, words, rows, out);
}
GATENTK_EXPORT void shuffle_lanes(int kind, const double* values, const int* arguments, int width, double* out) {
  launch(&shuffle, "shuffle", {dim3(1), lanes, 0, nullptr}, static_cast<ShuffleKind>(kind), values, arguments, width,
         out);
}
GATENTK_EXPORT void count_votes(int threads, const int* predicates, unsigned* out) {
  launch(&votes, "votes", {dim3(1), threads, 0, nullptr}, predicates, out);
}
GATENTK_EXPORT void write_indices(unsigned x, unsigned y, unsigned z, int threads, unsigned* out, unsigned* visits) {
  launch(&indices, "indices", {dim3(x, y, z), threads, 0, nullptr}, out, visits);
}
GATENTK_EXPORT void read_strided(const double* values, int count, const int* rows, double* out) {
  launch(&strided_reads, "strided_reads", {dim3(1), lanes, 0, nullptr}, values, count, rows, out);
}
GATENTK_EXPORT void round_floats(int count, const float* x, unsigned* tf32, unsigned* bfloat16, float* root) {
  launch(&roundings, "roundings", {dim3(1), count, 0, nullptr}, x, tf32, bfloat16, root);
}
