//! Long work reports how much of it is done to a [`Tick`], which may stop it.

use thiserror::Error;

/// The work was stopped before its end, as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("interrupted")]
pub struct Interrupted;

/// A function that is called again and again while work goes on, with the part that is done, from 0 to
/// 1. If it returns an error, the work stops.
pub type Tick<'a> = dyn FnMut(f64) -> Result<(), Interrupted> + 'a;

/// A [`Tick`] that hears nothing and stops nothing.
pub fn unwatched(_: f64) -> Result<(), Interrupted> {
    Ok(())
}

/// The tick of one part of a larger work: that part's 0 to 1 become `from` to `to` of the whole.
pub fn part<'a>(
    whole: &'a mut Tick<'_>,
    from: f64,
    to: f64,
) -> impl FnMut(f64) -> Result<(), Interrupted> + 'a {
    move |done| whole(from + (to - from) * done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_work_reports_its_share_of_the_whole() {
        let mut heard = Vec::new();
        let mut whole = |done: f64| {
            heard.push(done);
            Ok(())
        };
        let mut second_half = part(&mut whole, 0.5, 1.0);
        assert_eq!(
            [second_half(0.0), second_half(0.5), second_half(1.0)],
            [Ok(()); 3]
        );
        drop(second_half);
        assert_eq!(heard, [0.5, 0.75, 1.0]);
    }

    #[test]
    fn stopping_the_whole_stops_its_parts() {
        let mut whole = |_: f64| Err(Interrupted);
        assert_eq!(part(&mut whole, 0.0, 1.0)(0.1), Err(Interrupted));
    }
}
