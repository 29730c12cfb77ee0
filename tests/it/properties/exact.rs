//! Numbers that know how far rounding may take a device from them: running error analysis (Higham,
//! “Accuracy and stability of numerical algorithms”, section 3.3), to first order.
//!
//! Errors are counted in unit roundoffs, so one bound serves f32 and f64. Every operation rounds
//! once; a sum of K terms is off by 4·√K times the sum of their absolute values: what independent
//! roundings give, four times over.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// A value in f64, and what a device may be off by, in unit roundoffs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exact {
    pub value: f64,
    pub slack: f64,
}

/// A number that devices hold exactly: f32 has it too.
pub fn exact(value: f64) -> Exact {
    Exact { value, slack: 0.0 }
}

/// A number that devices round.
pub fn rounded(value: f64) -> Exact {
    let slack = value.abs();
    Exact { value, slack }
}

pub const ONE: Exact = Exact {
    value: 1.0,
    slack: 0.0,
};

impl Exact {
    /// A value whose own rounding comes on top of what it was made of.
    fn of(value: f64, inherited: f64) -> Exact {
        let slack = inherited + value.abs();
        Exact { value, slack }
    }

    pub fn sqrt(self) -> Exact {
        let root = self.value.sqrt();
        Exact::of(root, self.slack / (2.0 * root))
    }

    /// eˣ, which the engine promises to two of f32's ulps: four unit roundoffs.
    pub fn exp(self) -> Exact {
        let value = self.value.exp();
        let slack = value * (4.0 + self.slack);
        Exact { value, slack }
    }

    /// eˣ − 1, to as many ulps of itself.
    pub fn exp_m1(self) -> Exact {
        let value = self.value.exp_m1();
        let slack = 4.0 * value.abs() + (1.0 + value) * self.slack;
        Exact { value, slack }
    }

    /// ln(1 + x), to an ulp.
    pub fn ln_1p(self) -> Exact {
        let value = self.value.ln_1p();
        Exact::of(value, self.slack / (1.0 + self.value) + value.abs())
    }
}

impl Add for Exact {
    type Output = Exact;
    fn add(self, other: Exact) -> Exact {
        Exact::of(self.value + other.value, self.slack + other.slack)
    }
}

impl Sub for Exact {
    type Output = Exact;
    fn sub(self, other: Exact) -> Exact {
        self + -other
    }
}

impl Neg for Exact {
    type Output = Exact;
    fn neg(self) -> Exact {
        let value = -self.value;
        Exact { value, ..self }
    }
}

impl Mul for Exact {
    type Output = Exact;
    fn mul(self, other: Exact) -> Exact {
        let inherited = self.value.abs() * other.slack + other.value.abs() * self.slack;
        Exact::of(self.value * other.value, inherited)
    }
}

impl Div for Exact {
    type Output = Exact;
    fn div(self, other: Exact) -> Exact {
        let value = self.value / other.value;
        let inherited = (self.slack + value.abs() * other.slack) / other.value.abs();
        Exact::of(value, inherited)
    }
}

/// A sum in the making.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    value: f64,
    absolute: f64,
    slack: f64,
    terms: usize,
}

impl Sum {
    pub fn add(&mut self, term: Exact) {
        self.value += term.value;
        self.absolute += term.value.abs();
        self.slack += term.slack;
        self.terms += 1;
    }

    pub fn total(self) -> Exact {
        let slack = 4.0 * (self.terms as f64).sqrt() * self.absolute + self.slack;
        Exact {
            value: self.value,
            slack,
        }
    }
}

impl FromIterator<Exact> for Sum {
    fn from_iter<I: IntoIterator<Item = Exact>>(terms: I) -> Sum {
        let mut sum = Sum::default();
        terms.into_iter().for_each(|term| sum.add(term));
        sum
    }
}

pub fn sum(terms: impl IntoIterator<Item = Exact>) -> Exact {
    Sum::from_iter(terms).total()
}
