// eˣ − 1. Near 0, where 1 would swallow the digits, by Taylor's series.
fn exp_minus_one(x: f32) -> f32 {
    let deep = 1.0 + x / 4.0 * (1.0 + x / 5.0 * (1.0 + x / 6.0 * (1.0 + x / 7.0)));
    let series = x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * deep));
    return select(exp(x) - 1.0, series, abs(x) < 0.35);
}

