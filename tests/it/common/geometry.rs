//! Random windows for convolution and pooling, the same in every test.

pub use diabolo::gradcheck::Geometry;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// `count` geometries.
pub fn geometries(count: usize) -> Vec<Geometry> {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    (0..count).map(|_| Geometry::random(&mut rng)).collect()
}
