/* One stage of an explicit step: result = a (div(D grad v) + rho v (1 - v)) + b v + c w + d u + e f, cell by cell.

Cells are sorted by voxel, N^3 in each; N, cells per edge of a voxel, is given to the compiler. inner: D/h^2 of each
voxel; wall: the diffusivity of the faces to its six neighbours in units of its own, zero where there is none; beside:
their numbers, any where the wall is zero. A ghost behind a wall is scaled so that one stencil serves all cells. */

#define M (N + 2)

void stage(long voxels, const float *inner, const float *wall, const int *beside, float rho, const float *factor,
           const float *v, const float *w, const float *u, const float *f, float *restrict result)
{
    enum { size = N * N * N };
    static const int stride[3] = {N * N, N, 1}, padded[3] = {M * M, M, 1};
    float p[M * M * M];
    for (long k = 0; k < voxels; k++) {
        const float *own = v + k * size, d = inner[k];
        for (int x = 0; x < N; x++)
            for (int y = 0; y < N; y++)
                for (int z = 0; z < N; z++)
                    p[(x + 1) * padded[0] + (y + 1) * padded[1] + z + 1] = own[x * stride[0] + y * stride[1] + z];
#pragma GCC unroll 6
        for (int side = 0; side < 6; side++) {
            const int axis = side / 2, one = (axis + 1) % 3, two = (axis + 2) % 3, far = side % 2;
            const float ratio = wall[6 * k + side];
            const float *other = v + (long)beside[6 * k + side] * size;
            const int here = far ? (N - 1) * stride[axis] : 0, there = far ? 0 : (N - 1) * stride[axis];
            const int ghost = far ? (N + 1) * padded[axis] : 0;
            for (int i = 0; i < N; i++)
                for (int j = 0; j < N; j++) {
                    const int at = i * stride[one] + j * stride[two];
                    const float x = own[here + at];
                    p[ghost + (i + 1) * padded[one] + (j + 1) * padded[two]] = x + ratio * (other[there + at] - x);
                }
        }
        for (int x = 0; x < N; x++)
            for (int y = 0; y < N; y++)
                for (int z = 0; z < N; z++) {
                    const float *q = p + (x + 1) * padded[0] + (y + 1) * padded[1] + z + 1;
                    const long i = k * size + x * stride[0] + y * stride[1] + z;
                    const float sum = q[-padded[0]] + q[padded[0]] + q[-padded[1]] + q[padded[1]] + q[-1] + q[1];
                    const float change = d * (sum - 6.0f * *q) + rho * *q * (1.0f - *q);
                    result[i] = factor[0] * change + factor[1] * *q + factor[2] * w[i] + factor[3] * u[i] + factor[4] * f[i];
                }
    }
}
