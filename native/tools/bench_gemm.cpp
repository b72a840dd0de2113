// Rates of the three products at the shapes that occur, on one core, in GFLOP/s.
//   g++ -O3 -std=c++20 -mavx2 -mfma -ffp-contract=off -DDR_TARGET=avx2 -I../src bench_gemm.cpp
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include "gemm.hpp"
using namespace deltarule::DR_TARGET;

template <class T> T* make(long n) {
    T* p = static_cast<T*>(std::aligned_alloc(4096, (size_t(n) * sizeof(T) / 4096 + 2) * 4096));
    for (long i = 0; i < n; ++i) p[i] = T((i * 7 % 13) - 6) / 16;
    return p;
}
template <class F> double best(double flops, F f) {
    double fastest = 1e9;
    for (int round = 0; round < 7; ++round) {
        int n = 0;
        const auto t0 = std::chrono::steady_clock::now();
        double s = 0;
        do { f(); ++n; s = std::chrono::duration<double>(std::chrono::steady_clock::now() - t0).count(); } while (s < 0.01);
        if (s / n < fastest) fastest = s / n;
    }
    return flops / fastest * 1e-9;
}
template <class T> void measure(long B, long K, long N, long R) {
    constexpr int NR = panel_width<T>;
    const long kp = (K + NR - 1) / NR, np = (N + NR - 1) / NR;
    const long tiles = (B + R - 1) / R, a_size = kp * R * NR, d_size = np * R * NR;
    T *a = make<T>(tiles * a_size), *d = make<T>(tiles * d_size), *w = make<T>(np * K * NR), *bias = make<T>(np * NR),
      *wt = make<T>(kp * N * NR);
    const double flops = 2.0 * double(B) * double(K) * double(N);
    const double f = best(flops, [&] {
        for (long t = 0; t < tiles; ++t) {
            const long rows = t + 1 < tiles ? R : B - t * R;
            for (long k0 = 0; k0 < K; k0 += depth_block)
                for (long p = 0; p < np; ++p)
                    product_panel<T, 2>(rows, a + t * a_size, R * NR, w + p * K * NR, k0, k0 + depth_block < K ? k0 + depth_block : K,
                                        k0 ? nullptr : bias, d + t * d_size + p * R * NR);
        }
    });
    const double b = best(flops, [&] {
        for (long t = 0; t < tiles; ++t) {
            const long rows = t + 1 < tiles ? R : B - t * R;
            for (long k0 = 0; k0 < N; k0 += depth_block)
                for (long p = 0; p < kp; ++p)
                    product_panel<T, 2>(rows, d + t * d_size, R * NR, wt + p * N * NR, k0, k0 + depth_block < N ? k0 + depth_block : N,
                                        k0 ? nullptr : bias, a + t * a_size + p * R * NR);
        }
    });
    T* sums = make<T>(16 * NR * NR);
    const double g = best(flops, [&] {
        for (long p0 = 0; p0 < np; p0 += 4)
            for (long q = 0; q < kp; ++q) {
                const int columns = int(K - q * NR < NR ? K - q * NR : NR);
                __builtin_memset(sums, 0, 4 * NR * NR * sizeof(T));
                for (long t = 0; t < tiles; ++t) {
                    const long rows = t + 1 < tiles ? R : B - t * R;
                    for (long r = 0; r < rows; r += 128)
                    for (long p = p0; p < np && p < p0 + 4; ++p)
                        gradient_block<T, 2>(rows - r < 128 ? rows - r : 128, columns, a + t * a_size + (q * R + r) * NR, d + t * d_size + (p * R + r) * NR,
                                             sums + (p - p0) * NR * NR);
                }
            }
    });
    std::printf("%6ld %6ld %6ld | %4ld | %7.1f %7.1f %7.1f\n", B, K, N, R, f, b, g);
    std::free(a); std::free(d); std::free(w); std::free(bias); std::free(wt); std::free(sums);
}
int main() {
    std::printf("  rows      k      n | tile | forward backward gradient\n");
    measure<float>(200, 64, 100, 102);
    measure<float>(128, 784, 256, 66);
    measure<float>(256, 256, 256, 66);
    measure<float>(512, 1024, 2048, 48);
    measure<float>(512, 1024, 2048, 96);
    measure<float>(512, 2048, 2048, 96);
    measure<float>(512, 2048, 2048, 192);
    measure<float>(4096, 512, 512, 96);
    measure<float>(1, 784, 128, 1);
    std::printf("float64\n");
    measure<double>(128, 784, 256, 66);
    measure<double>(256, 256, 256, 66);
    measure<double>(512, 1024, 1024, 96);
}
