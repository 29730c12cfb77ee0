//! Whose code multiplies matrices.

use pulp::{Simd, WithSimd};

/// Whose code computes the products of dense layers and convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// Ours: register tiles that read patches where they lie, and allocate nothing.
    Tiles,
    /// The crate `matrixmultiply`: patches are written down first, and memory for them is allocated in
    /// every launch.
    Matrixmultiply,
}

impl Products {
    /// Our tiles where they are vector code, else the library, which has SSE2 too.
    pub fn fastest() -> Products {
        if pulp::Arch::new().dispatch(HasVectors) {
            Products::Tiles
        } else {
            Products::Matrixmultiply
        }
    }
}

/// Asks whether vectors hold more than one number.
struct HasVectors;

impl WithSimd for HasVectors {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        S::F32_LANES > 1
    }
}
