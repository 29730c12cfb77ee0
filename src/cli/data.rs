//! `diabolo data`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{HumanBytes, HumanCount, ProgressBar};
use serde::Serialize;

use diabolo::data::catalogue::{self, CATALOGUE, Entry, Whereabouts};
use diabolo::data::fetch::{self, Event, Patience, Wanted};
use diabolo::data::synthetic::Synthetic;
use diabolo::data::{self, Colour, Dataset, Selection, cache};
use diabolo::image::MOST_VALUES;
use diabolo::report::write_grid;

use super::say::say;
use super::{Done, Failure, Usage, print, refuse_to_replace, table};

/// Rows of a picture of images without classes.
const ROWS: usize = 10;
/// Most values in a picture.
const LARGEST: usize = 1 << 27;

#[derive(Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  diabolo data list
  diabolo data fetch cifar10
  diabolo data show fashion-mnist --out clothes.png
  diabolo data synthetic --images 1000000 --out million

Fetched data sets are kept in the platform's folder for caches, in the folder that the environment \
variable DIABOLO_DATA names, or in --cache DIR."
)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the data sets, and where each one lies on this machine
    List(ListOptions),
    /// Describe a data set: images, classes, files, terms of use
    Info(InfoOptions),
    /// Download a data set and check it
    Fetch(FetchOptions),
    /// Draw sample images, a row per class
    Show(ShowOptions),
    /// Generate any number of synthetic images, to measure time and memory
    Synthetic(SyntheticOptions),
}

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo data list
  diabolo data list --json")]
struct ListOptions {
    /// Folder for data sets
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo data info cifar10
  diabolo data info fashion-mnist --json")]
struct InfoOptions {
    /// Name of a data set (see `diabolo data list`)
    name: String,
    /// Folder for data sets
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo data fetch fashion-mnist
  diabolo data fetch cifar10 --cache /data/sets
  diabolo data fetch cifar10 --mirror https://example.org/copies

The next fetch resumes a download that broke off. A mirror is a folder that holds the \
files under their own names; those of --mirror are tried first, then those of the environment \
variable DIABOLO_MIRRORS, then the published places. Every file is checked by its SHA-256.")]
struct FetchOptions {
    /// Name of a data set (see `diabolo data list`)
    name: String,
    /// Folder for data sets
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Folder to fetch from; may be given more than once
    #[arg(long = "mirror", value_name = "URL")]
    mirrors: Vec<String>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo data show fashion-mnist --out clothes.png
  diabolo data show images --path photographs --height 64 --width 64 --out photographs.png
  diabolo data show npy --path images.npy --labels labels.npy --count 20 --out grid.png")]
struct ShowOptions {
    /// Name of a data set (see `diabolo data list`)
    name: String,
    /// Picture to write
    #[arg(long, value_name = "FILE.png")]
    out: PathBuf,
    /// Images in a row
    #[arg(long, default_value_t = 10, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// Where the data is, as a recipe's `data.path`
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// Labels of the images, as a recipe's `data.labels`
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Rows of pixels to resize pictures to
    #[arg(long, value_name = "N")]
    height: Option<usize>,
    /// Pixels per row to resize pictures to
    #[arg(long, value_name = "N")]
    width: Option<usize>,
    /// What pictures are converted to [default: rgb]
    #[arg(long)]
    colour: Option<ColourName>,
    /// Folder for data sets
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo data synthetic --images 1000000 --out million
  diabolo data synthetic --images 5000 --size 64x48 --seed 1 --out images --labels labels

The files are IDX, uncompressed: images of bytes and, if asked for, their classes from 0 to 9. A recipe \
learns from them by `name = \"npy\"`, `path`, `labels` in its table `data`. The same seed makes the same \
images; a smaller set is the beginning of a larger one.")]
struct SyntheticOptions {
    /// How many images
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    /// Rows of pixels and pixels per row
    #[arg(long, value_name = "HxW", default_value = "28x28", value_parser = size)]
    size: [usize; 2],
    /// Which images
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// File of images to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// File of their classes to write
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Replace the files if they are there
    #[arg(long)]
    force: bool,
}

/// `28x28`
fn size(text: &str) -> Result<[usize; 2], String> {
    let sides = text.split_once('x');
    let sides = sides.and_then(|(h, w)| Some([h.parse().ok()?, w.parse().ok()?]));
    let fits = |[h, w]: &[usize; 2]| matches!(h.checked_mul(*w), Some(1..=MOST_VALUES));
    sides.filter(fits).ok_or_else(|| {
        format!("expected rows x columns, such as 28x28, at most {MOST_VALUES} pixels")
    })
}

#[derive(Clone, Copy, ValueEnum)]
enum ColourName {
    /// One value a pixel
    Grey,
    /// Three values a pixel
    Rgb,
}

impl From<ColourName> for Colour {
    fn from(name: ColourName) -> Self {
        match name {
            ColourName::Grey => Colour::Grey,
            ColourName::Rgb => Colour::Rgb,
        }
    }
}

pub fn data(options: &Options) -> Result<Done, Failure> {
    match &options.command {
        Command::List(options) => list(options),
        Command::Info(options) => info(options),
        Command::Fetch(options) => fetch(options),
        Command::Show(options) => show(options),
        Command::Synthetic(options) => synthetic(options),
    }?;
    Ok(Done::Fully)
}

/// An entry and where it is.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    entry: &'static Entry,
    whereabouts: Whereabouts,
}

impl Found {
    fn new(entry: &'static Entry, cache: Option<&Path>) -> Found {
        let whereabouts = entry.whereabouts(cache);
        Found { entry, whereabouts }
    }

    fn place(&self) -> String {
        match &self.whereabouts {
            Whereabouts::Embedded => "in the program".to_owned(),
            Whereabouts::Yours => "yours: see `data.path`".to_owned(),
            Whereabouts::At(path) => path.display().to_string(),
            Whereabouts::Absent => format!("absent: diabolo data fetch {}", self.entry.name),
        }
    }
}

fn shape(entry: &Entry) -> String {
    let shape = entry.shape.map(|[height, width, channels]| match channels {
        1 => format!("{height} × {width}, grey"),
        _ => format!("{height} × {width}, colour"),
    });
    shape.unwrap_or_else(|| "as your files".to_owned())
}

fn counts(entry: &Entry) -> String {
    let images = entry
        .images
        .map(|count| count.map(|n| HumanCount(n as u64).to_string()));
    let counts = images.map(|[train, test]| format!("{train} + {test}"));
    counts.unwrap_or_else(|| "as your files".to_owned())
}

fn list(options: &ListOptions) -> Result<(), Failure> {
    let found = CATALOGUE.iter();
    let found = found.map(|entry| Found::new(entry, options.cache.as_deref()));
    let found: Vec<Found> = found.collect();
    if options.json {
        return print(serde_json::to_string_pretty(&found)?);
    }
    let mut table = table::new(["name", "what it is"]);
    for found in found {
        let entry = found.entry;
        let (counts, shape) = (counts(entry), shape(entry));
        let extent = if counts == shape {
            String::new() // both are as the user's files have them
        } else {
            format!("{counts} images of {shape}. ")
        };
        let what = format!("{extent}{} ({})", entry.description, found.place());
        table.add_row([entry.name.to_owned(), what]);
    }
    print(table)
}

fn info(options: &InfoOptions) -> Result<(), Failure> {
    let entry = catalogue::entry(&options.name)?;
    let found = Found::new(entry, options.cache.as_deref());
    if options.json {
        return print(serde_json::to_string_pretty(&found)?);
    }
    let classes = match entry.classes.is_empty() {
        true => "as your files".to_owned(),
        false => entry.classes.join(", "),
    };
    print(format!("{}: {}", entry.title, entry.description))?;
    for (what, value) in [
        (
            "images",
            format!("{} to train and to test on", counts(entry)),
        ),
        ("size", shape(entry)),
        ("classes", classes),
        ("where", found.place()),
        ("source", entry.citation.to_owned()),
        ("licence", entry.licence.to_owned()),
        (
            "keys",
            [&["name"], entry.keys, &["train_images", "test_images"]]
                .concat()
                .join(", "),
        ),
    ] {
        print(format!("{what:>8}: {value}"))?;
    }
    for file in entry.files {
        let (name, size, sha256) = (file.name, HumanCount(file.bytes), file.sha256);
        print(format!("\n{name}\n  {size} bytes, SHA-256 {sha256}"))?;
        for url in file.urls {
            print(format!("  {url}"))?;
        }
    }
    Ok(())
}

fn fetch(options: &FetchOptions) -> Result<(), Failure> {
    let entry = catalogue::entry(&options.name)?;
    let (name, title, chosen) = (entry.name, entry.title, options.cache.as_deref());
    if entry.files.is_empty() {
        return match entry.whereabouts(chosen) {
            Whereabouts::Embedded => print(format!("{title} is in the program: nothing to fetch")),
            _ => Err(format!(
                "the data set {name:?} is your own: nothing to fetch\nhint: set `data.path`"
            )
            .into()),
        };
    }
    let folder = cache::of(name, chosen)?;
    // A copy that the system has is as good, unless another folder was asked for.
    if let (None, Whereabouts::At(path)) = (chosen, entry.whereabouts(chosen))
        && !path.starts_with(&folder)
    {
        let path = path.display();
        return print(format!("{title} is at {path} already: nothing to fetch"));
    }
    let mirrors = fetch::mirrors(&options.mirrors);
    let mut fetched = false;
    for file in entry.files {
        let bar = super::progress::bar("fetching", file.bytes);
        let wanted = Wanted::new(file, &mirrors);
        let path = fetch::fetch(&wanted, &folder, &Patience::default(), &mut |event| {
            fetched |= matches!(event, Event::Stored(_));
            report(&bar, event);
        });
        bar.finish_and_clear();
        path?;
    }
    let place = folder.display();
    print(match fetched {
        true => format!("{title} is in {place}"),
        false => format!("{title} is in {place} already, and right: nothing to fetch"),
    })
}

fn report(bar: &ProgressBar, event: Event) {
    match event {
        Event::Asking(url) => bar.suspend(|| say(format!("asking {url}"))),
        Event::Failed { url, reason } => bar.suspend(|| say(format!("failed {url}: {reason}"))),
        Event::Received { done, total } => {
            bar.set_position(done);
            bar.set_message(format!("{} of {}", HumanBytes(done), HumanBytes(total)));
        }
        Event::Present(_) | Event::Stored(_) => {}
    }
}

fn show(options: &ShowOptions) -> Result<(), Failure> {
    let out = &options.out;
    refuse_to_replace(out, options.force)?;
    let entry = catalogue::entry(&options.name)?;
    let selection = Selection {
        name: options.name.clone(),
        path: options.path.clone(),
        labels: options.labels.clone(),
        height: options.height,
        width: options.width,
        colour: options.colour.map(Colour::from),
        ..Selection::default()
    };
    let data = data::load_from(&selection, 0, options.cache.as_deref())?;
    let columns = usize::from(options.count);
    let (rows, classes) = samples(&data, columns);
    let values = rows.len() * columns * data.train.features();
    if values > LARGEST {
        return Err(format!(
            "{} rows of {columns} images of {} (height×width×channels) make too large a \
             picture\nhint: give a smaller --count, or --height and --width",
            rows.len(),
            data.train.shape()
        )
        .into());
    }
    let pixels: Vec<Vec<f32>> = rows
        .iter()
        .map(|row| data.train.pick(row).to_f32())
        .collect::<Result<_, _>>()?;
    let pixels: Vec<&[f32]> = pixels.iter().map(Vec::as_slice).collect();
    write_grid(out, &pixels, data.train.shape())?;
    let name = |&class: &usize| match entry.classes.get(class) {
        Some(name) => (*name).to_owned(),
        None => class.to_string(),
    };
    let names: Vec<String> = classes.iter().map(name).collect();
    let rows = match names.is_empty() {
        true => format!("{} rows without classes", pixels.len()),
        false => format!("rows: {}", names.join(", ")),
    };
    print(format!(
        "{} written to {}; {rows}",
        data.name,
        out.display()
    ))
}

fn synthetic(options: &SyntheticOptions) -> Result<(), Failure> {
    let (out, labels) = (&options.out, options.labels.as_deref());
    refuse_to_replace(out, options.force)?;
    if let Some(labels) = labels {
        refuse_to_replace(labels, options.force)?;
        if labels == out {
            return Err(Usage(
                "--out and --labels name the same file\nhint: --labels labels.npy".to_owned(),
            )
            .into());
        }
    }
    let set = Synthetic::new(options.images as usize, options.size, options.seed);
    let bar = super::progress::bar("making", set.count as u64);
    set.write(out, labels, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    let (count, height, width) = (HumanCount(set.count as u64), set.height, set.width);
    print(format!(
        "{count} images of {height} × {width} written to {}",
        out.display()
    ))
}

/// The first training images, `columns` to a row: a row per class that has any, else some rows. Also
/// returns the class of each row.
fn samples(data: &Dataset, columns: usize) -> (Vec<Vec<usize>>, Vec<usize>) {
    if !data.is_labelled() {
        let all: Vec<usize> = (0..data.train.count.min(ROWS * columns)).collect();
        return (all.chunks(columns).map(<[usize]>::to_vec).collect(), vec![]);
    }
    let mut rows = vec![Vec::new(); data.classes];
    for (index, &label) in data.train_labels.iter().enumerate() {
        let row = &mut rows[usize::from(label)];
        if row.len() < columns {
            row.push(index);
        }
    }
    let rows = rows.into_iter().enumerate();
    let (classes, rows) = rows.filter(|(_, row)| !row.is_empty()).unzip();
    (rows, classes)
}
