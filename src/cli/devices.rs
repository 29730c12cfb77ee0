use clap::Args;

use super::{Done, Failure};

#[derive(Args)]
pub struct Options {}

pub fn devices(_: &Options) -> Result<Done, Failure> {
    Ok(Done::Fully)
}
