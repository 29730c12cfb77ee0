// A distance from the dot product of two vectors and their squared norms. See src/kernels/nearest.rs.

const COSINE: bool = false;

fn distance_from(dot: f32, q: f32, r: f32) -> f32 {
    if COSINE {
        let norms = sqrt(q * r);
        var cosine = 0.0;
        if norms > 0.0 {
            cosine = dot / norms;
        }
        return 1.0 - cosine;
    }
    let squared = q - (dot + dot) + r;
    return select(squared, 0.0, squared < 0.0);
}
