//! `diabolo gradcheck`

use std::path::PathBuf;

use clap::Args;
use rayon::prelude::*;

use diabolo::gradcheck::{
    Case, MISTAKES, Mistake, Named, Row, Trouble, check, layer_cases, layer_names, model_case,
    sweep,
};
use diabolo::recipe::{BUILT_IN, Recipe};
use diabolo::report::differences;

use super::say::say;
use super::{Done, Failure, Usage, backend, print, progress, refuse_unwritable, table};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo gradcheck                     every layer, loss and model, everywhere
  diabolo gradcheck conv2d batch_norm   two kinds of layer
  diabolo gradcheck --recipe my.toml    the model of a recipe, made small
  diabolo gradcheck dense --sweep       how errors depend on the step size
  diabolo gradcheck --break list        the known mistakes
  diabolo gradcheck --break wrong-sign  plant one: the check must fail

In f64, 40 elements of each gradient are compared with central differences; on cpu-f32 \
and GPUs the same backward pass is compared with the f64 gradient, to within the rounding of its sums. Points where a ReLU or \
a maximum has a kink are skipped and counted.

Exit codes: 0 every gradient is right, 1 one is not, 2 wrong usage. With --break: 1 the mistake was \
found on every device, 0 it was missed on one, 2 nothing selected has a place for it.")]
pub struct Options {
    /// Kinds of layer, or losses; all if there are none, and no --recipe
    #[arg(value_name = "LAYER")]
    layers: Vec<String>,
    /// A recipe's model, built in or from a file; may be given several times
    #[arg(long = "recipe", value_name = "NAME|FILE")]
    recipes: Vec<String>,
    /// cpu-f64, cpu-f32, cpu-matrixmultiply, gpu, gpu-naive, gpu-checked, or part of an adapter's name;
    /// without it cpu-f64, cpu-f32 and, if there is one, gpu
    #[arg(long = "device", value_name = "DEVICE", value_delimiter = ',')]
    devices: Vec<String>,
    /// Random shapes of each layer with each activation
    #[arg(long, default_value_t = 6, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    shapes: u16,
    /// Seeds shapes, values and projections
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Plant a known mistake into the backward; `list` lists them
    #[arg(long = "break", value_name = "KIND")]
    mistake: Option<String>,
    /// Also compare with differences of every width, and draw the errors
    #[arg(long, value_name = "FILE.svg", num_args = 0..=1, require_equals = true, default_missing_value = "gradcheck.svg")]
    sweep: Option<PathBuf>,
    /// Replace the picture if it is there
    #[arg(long)]
    force: bool,
    /// Show every shape and activation on a line of its own
    #[arg(long)]
    all: bool,
    /// Print the rows as JSON
    #[arg(long, conflicts_with = "sweep")]
    json: bool,
}

pub fn gradcheck(options: &Options) -> Result<Done, Failure> {
    if options.mistake.as_deref() == Some("list") {
        return list_mistakes(options.json);
    }
    let mistake = options.mistake.as_deref().map(find_mistake).transpose()?;
    if let Some(picture) = &options.sweep {
        refuse_unwritable(picture, options.force)?;
    }
    let cases = cases(options)?;
    let devices = devices(&options.devices)?;

    let bar = progress::bar("checking", cases.len() as u64);
    let rows: Result<Vec<Vec<Row>>, _> = cases
        .par_iter()
        .map(|case| {
            let rows = check(case, options.seed, mistake, &devices);
            bar.inc(1);
            rows
        })
        .collect();
    bar.finish_and_clear();
    let rows: Vec<Row> = rows?.into_iter().flatten().collect();

    if options.json {
        print(serde_json::to_string_pretty(&rows)?)?;
    } else if !rows.is_empty() {
        print(match options.all {
            true => table::gradients(rows.iter()),
            false => table::gradients(worst_of_each(&rows).into_iter()),
        })?;
        print(table::GRADIENTS_LEGEND)?;
        show_wrong(&rows)?;
    }
    if let Some(picture) = &options.sweep {
        let case = cases.iter().find(|case| case.layer.contains("tanh"));
        let sweep = sweep(case.unwrap_or(&cases[0]), options.seed)?;
        print(differences::text(&sweep))?;
        differences::draw(&sweep, picture)?;
        print(format!("drawn in {}", picture.display()))?;
    }
    match mistake {
        None => judge(&rows),
        Some(mistake) => judge_mistake(mistake, &rows, &devices),
    }
}

fn list_mistakes(json: bool) -> Result<Done, Failure> {
    if json {
        let names: Vec<&str> = MISTAKES.iter().map(|mistake| mistake.name).collect();
        print(serde_json::to_string_pretty(&names)?)?;
    } else {
        let mut table = table::new(["mistake", "what is wrong"]);
        for mistake in MISTAKES {
            table.add_row([mistake.name, mistake.what]);
        }
        print(table)?;
    }
    Ok(Done::Fully)
}

fn find_mistake(name: &str) -> Result<&'static Mistake, Failure> {
    let known: Vec<&str> = MISTAKES.iter().map(|mistake| mistake.name).collect();
    Mistake::named(name).ok_or_else(|| {
        format!(
            "no mistake `{name}`: known are {}\nhint: --break {}",
            known.join(", "),
            known[0]
        )
        .into()
    })
}

/// What is asked for twice is checked once.
fn once_each(names: &[String]) -> impl Iterator<Item = &String> {
    let first = |&(place, name): &(usize, &String)| !names[..place].contains(name);
    names.iter().enumerate().filter(first).map(|(_, name)| name)
}

/// What the options select.
fn cases(options: &Options) -> Result<Vec<Case>, Failure> {
    let everything = options.layers.is_empty() && options.recipes.is_empty();
    let (mut layers, mut recipes) = (options.layers.clone(), options.recipes.clone());
    if everything {
        layers = layer_names().into_iter().map(str::to_owned).collect();
        recipes = BUILT_IN
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
    }
    let mut cases = Vec::new();
    for name in once_each(&layers) {
        let found = layer_cases(name, options.shapes.into(), options.seed);
        cases.extend(found.ok_or_else(|| {
            let known = layer_names().join(", ");
            format!("no layer `{name}`: there are {known}\nhint: diabolo gradcheck dense")
        })?);
    }
    for name in once_each(&recipes) {
        cases.push(model_case(&Recipe::load_last_phase(name)?)?);
    }
    Ok(cases)
}

/// The devices asked for, or all there are.
fn devices(names: &[String]) -> Result<Vec<Named>, Failure> {
    let mut devices = Vec::new();
    for name in once_each(names) {
        devices.push(backend(name)?);
    }
    if names.is_empty() {
        devices = vec![backend("cpu-f64")?, backend("cpu-f32")?];
        match backend("gpu") {
            Ok(gpu) => devices.push(gpu),
            Err(error) => say(format!("not checked on a GPU: {error}")),
        }
    }
    Ok(devices)
}

/// Of each kind of layer, quantity and device the row that comes closest to failing, or fails worst,
/// with the points of all of them. A model's tensors count as one quantity.
fn worst_of_each(rows: &[Row]) -> Vec<Row> {
    let mut worst: Vec<Row> = Vec::new();
    let same = |a: &Row, b: &Row| {
        let model = a.layer.starts_with("model");
        a.kind == b.kind && a.device == b.device && (model || a.quantity == b.quantity)
    };
    for row in rows {
        let Some(so_far) = worst.iter_mut().find(|other| same(other, row)) else {
            worst.push(row.clone());
            continue;
        };
        let (checked, skipped) = (so_far.checked + row.checked, so_far.skipped + row.skipped);
        let badness = |row: &Row| (!row.pass, row.max_rel_error / row.tolerance);
        if badness(row) > badness(so_far) {
            *so_far = row.clone();
        }
        (so_far.checked, so_far.skipped) = (checked, skipped);
    }
    worst
}

fn judge(rows: &[Row]) -> Result<Done, Failure> {
    let failed: Vec<&Row> = rows.iter().filter(|row| !row.pass).collect();
    let Some(first) = failed.first() else {
        let points: usize = rows.iter().map(|row| row.checked).sum();
        let skipped: usize = rows.iter().map(|row| row.skipped).sum();
        say(format!(
            "{} gradients right: {points} points, {skipped} at kinks skipped",
            rows.len()
        ));
        return Ok(Done::Fully);
    };
    let (count, all) = (failed.len(), rows.len());
    Err(format!(
        "{count} of {all} checks fail; the first is {}",
        describe(first)
    )
    .into())
}

/// What fails, one line each.
fn show_wrong(rows: &[Row]) -> Result<(), Failure> {
    const MOST: usize = 12;
    let wrong: Vec<&Row> = rows.iter().filter(|row| !row.pass).collect();
    for row in wrong.iter().take(MOST) {
        print(format!("fails: {}", describe(row)))?;
    }
    match wrong.len().saturating_sub(MOST) {
        0 => Ok(()),
        more => print(format!("… and {more} more; --json has them all")),
    }
}

/// A row's worst element with both numbers.
fn describe(row: &Row) -> String {
    let Row {
        layer,
        quantity,
        device,
        ..
    } = row;
    let (checked, skipped) = (row.checked, row.skipped);
    match (&row.worst, row.trouble) {
        (_, Some(Trouble::TooFewCompared)) => format!(
            "{layer} on {device}: d_{quantity}: only {checked} elements could be compared, {skipped} \
             lie at kinks or are too small for differences; try another --seed"
        ),
        (_, Some(Trouble::LostInRounding)) => format!(
            "{layer} on {device}: d_{quantity}: rounding alone may move it by {:.0e} of itself, so \
             nothing can be said of it in f32",
            row.tolerance
        ),
        (Some(worst), _) => format!(
            "{layer} on {device}: d_{quantity}{:?} is {:e}, expected {:e}",
            worst.index, worst.got, worst.expected
        ),
        (None, _) => format!("{layer} on {device}: d_{quantity} has no elements"),
    }
}

/// Fails if the mistake is found everywhere, as the check itself does.
fn judge_mistake(mistake: &Mistake, rows: &[Row], devices: &[Named]) -> Result<Done, Failure> {
    if rows.is_empty() {
        let (name, what) = (mistake.name, mistake.what);
        let nowhere = format!(
            "nothing that was selected has a place for `{name}` ({what})\n\
             hint: leave the layers out, to check all"
        );
        return Err(Usage(nowhere).into());
    }
    let fails = |device: &&Named| {
        let mut rows = rows.iter().filter(|row| row.device == device.name);
        rows.any(|row| !row.pass)
    };
    let (found, missed): (Vec<&Named>, Vec<&Named>) = devices.iter().partition(fails);
    let names = |devices: &[&Named]| {
        let names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
        names.join(", ")
    };
    if !missed.is_empty() {
        let (name, missed) = (mistake.name, names(&missed));
        say(format!("`{name}` was planted and NOT FOUND on {missed}"));
        return Ok(Done::Fully);
    }
    let first = rows.iter().find(|row| !row.pass).expect("it was found");
    Err(format!(
        "`{}` was planted ({}) and found on {}; first in {}",
        mistake.name,
        mistake.what,
        names(&found),
        describe(first)
    )
    .into())
}
