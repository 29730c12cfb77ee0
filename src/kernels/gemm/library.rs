//! The dense product by the crate `matrixmultiply`.

use super::{Gemm, finish_block, strides};
use crate::kernels::host::Memory;
use crate::kernels::library::{Factor, product};
use crate::kernels::parallel::{chunks_of, each_part};
use crate::scalar::Scalar;

impl Gemm {
    /// A block of y's rows for each thread.
    pub(super) fn by_library<T: Scalar>(&self, memory: &mut Memory<T>) {
        let [m, k, n] = self.dims();
        let [a_strides, b_strides] = [
            strides(self.a, self.transpose_a),
            strides(self.b, self.transpose_b),
        ];
        let bias = self.bias.unwrap_or(self.b.view.part(0, 0));
        let team = &memory.team;
        let ([a, b, bias], [y]) = memory
            .real
            .access([self.a.view, self.b.view, bias], [self.y.view]);
        let height = m.div_ceil(team.threads());
        each_part(team, chunks_of(y, height * n), |_, block, y| {
            let a = Factor {
                values: &a[block * height * a_strides[0]..],
                strides: a_strides,
            };
            let b = Factor {
                values: b,
                strides: b_strides,
            };
            product([y.len() / n, k, n], a, b, y, false);
            finish_block(y, bias, self.activation);
        });
    }
}
