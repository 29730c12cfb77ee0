//! Trains on MNIST, encodes, and judges the features from few labels; nothing is written.
//!
//! ```text
//! cargo run --release --example train_in_twenty_lines
//! ```

use diabolo::device::{Choice, select};
use diabolo::experiment::{self, Outcome, Setting};
use diabolo::recipe::Recipe;
use diabolo::train::Silent;

fn main() -> Result<(), diabolo::Error> {
    let mut recipe = Recipe::load("mnist-dense")?;
    recipe.train.epochs = 2;
    recipe.evaluate.labels = vec![200];
    recipe.evaluate.draws = 20;
    let device = select(&Choice::Auto, 0)?;
    let setting = Setting::new(&device.backend);
    if let Outcome::Finished(finished) = experiment::run(&recipe, &setting, &mut Silent)? {
        for row in &finished.summary.few_label {
            let percent = 100.0 * row.mean;
            println!("{:<22} {:<9} {percent:.2} %", row.judge, row.representation);
        }
    }
    Ok(())
}
