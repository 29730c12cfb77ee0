//! How a GPU cuts a matrix product into work-groups.

use super::Gemm;
use crate::buffer::{BufferId, View};
use crate::kernels::column_sum::ColumnSumFinish;
use crate::kernels::{Activation, Dispatch, Step, folded};

/// How a GPU cuts a product; the table is the [room](super)'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    /// Rows and columns of a work-group's tile.
    tile: usize,
    /// Steps along k of a work-group.
    depth: usize,
}

impl Cut {
    /// Of `[m, k] · [k, n]`, along k only if the parts can be `summed`.
    fn of([m, k, n]: [usize; 3], summed: bool) -> Cut {
        /// Work-groups that a GPU is not idle with.
        const BUSY: usize = 64;
        /// Shorter parts would read and write more sums than they save.
        const LEAST_DEPTH: usize = 128;
        /// Steps along k that the tile takes at a time.
        const STEPS: usize = 16;
        let groups = |tile: usize| m.div_ceil(tile) * n.div_ceil(tile);
        if groups(64) >= BUSY {
            return Cut { tile: 64, depth: k };
        }
        let parts = match summed {
            true => BUSY.div_ceil(groups(32)).min(k / LEAST_DEPTH).max(1),
            false => 1,
        };
        let depth = match parts {
            1 => k,
            _ => k.div_ceil(parts).next_multiple_of(STEPS),
        };
        Cut { tile: 32, depth }
    }
}

impl Gemm {
    fn cut(&self) -> Cut {
        let summed = self.bias.is_none() && self.activation == Activation::Identity;
        Cut::of(self.dims(), summed)
    }

    /// The one dispatch that carries it out if k is not cut.
    pub(super) fn whole(&self) -> Dispatch {
        let [_, k, _] = self.dims();
        self.dispatch(Cut {
            depth: k,
            ..self.cut()
        })
    }

    fn dispatch(&self, Cut { tile, depth }: Cut) -> Dispatch {
        let [m, k, n] = self.dims();
        let [down, layers] = folded(m.div_ceil(tile) * k.div_ceil(depth));
        Dispatch {
            constants: vec![
                ("TRANSPOSE_A", self.transpose_a.to_string()),
                ("TRANSPOSE_B", self.transpose_b.to_string()),
                ("TILE", format!("{tile}u")),
                ("BIAS", self.bias.is_some().to_string()),
                ("ACTIVATION", self.activation.code()),
            ],
            dims: [m, k, n, depth].map(|dim| dim as u32).to_vec(),
            groups: [n.div_ceil(tile) as u32, down, layers],
        }
    }

    /// The two dispatches that carry it out on a GPU if k is cut: the parts' products, to `scratch`, and
    /// their sum.
    pub(super) fn split(&self, scratch: BufferId) -> Option<[Step; 2]> {
        let [_, k, _] = self.dims();
        let cut = self.cut();
        let parts = k.div_ceil(cut.depth);
        if parts == 1 {
            return None;
        }
        let elements = self.y.view.len;
        let partial = View {
            buffer: scratch,
            offset: 0,
            len: parts * elements,
        };
        let mut products = Step {
            dispatch: self.dispatch(cut),
            ..Step::of(self)
        };
        let [_, _, y, _] = &mut products.operands[..] else {
            unreachable!("a, b, y and bias")
        };
        y.view = partial;
        let sum = ColumnSumFinish {
            partial: partial.matrix(parts, elements),
            sum: self.y.view,
        };
        Some([products, Step::of(&sum)])
    }
}

#[cfg(test)]
mod tests {
    use super::Cut;

    #[test]
    fn products_with_few_tiles_are_cut_smaller_and_then_along_their_depth() {
        let cut = |dims| Cut::of(dims, true);
        // Enough tiles of either size; deep parts, in whole steps; too short to be cut.
        assert_eq!(
            cut([512, 3136, 512]),
            Cut {
                tile: 64,
                depth: 3136
            }
        );
        assert_eq!(
            cut([128, 784, 512]),
            Cut {
                tile: 32,
                depth: 784
            }
        );
        assert_eq!(
            cut([128, 3136, 64]),
            Cut {
                tile: 32,
                depth: 400
            }
        );
        assert_eq!(
            cut([64, 255, 64]),
            Cut {
                tile: 32,
                depth: 255
            }
        );
        for k in [256, 257, 1000, 3136] {
            for [m, n] in [[1, 1], [33, 129], [128, 64], [224, 288]] {
                let Cut { tile, depth } = cut([m, k, n]);
                let parts = k.div_ceil(depth);
                let groups = m.div_ceil(tile) * n.div_ceil(tile) * parts;
                assert!(parts > 1 && depth >= 128 && groups < 128, "{m}×{k}×{n}");
                let whole = Cut::of([m, k, n], false);
                assert_eq!(whole, Cut { tile, depth: k });
            }
        }
    }
}
