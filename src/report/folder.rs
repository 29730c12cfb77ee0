//! The folder of a run: what it may replace, and what lies where.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::files::{FileError, folder_of, temporary_name, write_atomically};
use crate::recipe::{Recipe, RecipeError};
use crate::train::{Checkpoint, CheckpointError, Weights};

/// Why a folder cannot be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// It holds a run.
    #[error(
        "{0} holds a run already\nhint: go on with it by --resume, replace it by --force, or choose \
         another folder with --out"
    )]
    Taken(PathBuf),
    /// It holds something else.
    #[error("{0} is not empty and holds no run\nhint: choose another folder with --out")]
    NotARun(PathBuf),
    /// Nothing to resume.
    #[error(
        "{0} has no checkpoint to resume from\nhint: start again with --force, or without --resume"
    )]
    NothingToResume(PathBuf),
    /// The run there is of another recipe.
    #[error(
        "{path} holds a run of another recipe; it differs in: {differences}\nhint: replace it by \
         --force, or choose another folder with --out"
    )]
    OtherRecipe {
        /// The folder.
        path: PathBuf,
        /// Lines of TOML that differ.
        differences: String,
    },
    /// There is no such folder.
    #[error(
        "no run {0}: there is no such folder\nhint: `diabolo run mnist-dense` makes runs/mnist-dense-0"
    )]
    NoRun(PathBuf),
    /// The run has not finished.
    #[error(
        "{0} has no model.safetensors\nhint: finish the run first with `diabolo run … --resume`"
    )]
    NoModel(PathBuf),
    /// The operating system refused.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A recipe could not be read.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
}

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// In a new or empty folder.
    New,
    /// From the folder's checkpoint.
    Resume,
    /// Anew, in place of the run that the folder holds.
    Force,
}

/// A run's folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    /// Where it is.
    pub path: PathBuf,
}

impl RunFolder {
    /// `runs/<recipe>-<seed>`
    pub fn default_path(recipe: &Recipe) -> PathBuf {
        Path::new("runs").join(format!("{}-{}", recipe.name, recipe.train.seed))
    }

    /// The folder of a run that is there.
    pub fn existing(path: &Path) -> RunFolder {
        RunFolder {
            path: path.to_owned(),
        }
    }

    /// Looks whether a run may begin here or go on, and touches nothing.
    ///
    /// # Errors
    ///
    /// [`FolderError`] if the folder holds a run that is not to be replaced, something that is no run, or
    /// no run that could be gone on with.
    pub fn open(path: &Path, start: Start) -> Result<RunFolder, FolderError> {
        let folder = RunFolder::existing(path);
        let is_run = folder.recipe().is_file();
        let is_empty = match std::fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(source) => return Err(folder.io("read", source)),
        };
        let has_checkpoint = |folder: &RunFolder| folder.checkpoint().is_file();
        match start {
            Start::Resume if has_checkpoint(&folder) => Ok(folder),
            Start::Resume if folder.phases().iter().any(has_checkpoint) => Ok(folder),
            Start::Resume => Err(FolderError::NothingToResume(folder.path)),
            Start::New if is_run => Err(FolderError::Taken(folder.path)),
            _ if !is_run && !is_empty => Err(FolderError::NotARun(folder.path)),
            _ => Ok(folder),
        }
    }

    /// Makes the folder of a new run: what an older run left goes, the recipe is written.
    pub fn begin(&self, recipe: &Recipe) -> Result<(), FolderError> {
        self.clear()?;
        std::fs::create_dir_all(&self.path).map_err(|source| self.io("create", source))?;
        self.write_recipe(recipe)
    }

    /// Makes the folder of features, if it is not there.
    pub fn make_features(&self) -> Result<(), FolderError> {
        let features = self.path.join("features");
        std::fs::create_dir_all(&features).map_err(|source| self.io("create", source))
    }

    /// Writes the recipe, every default spelled out.
    pub fn write_recipe(&self, recipe: &Recipe) -> Result<(), FolderError> {
        write_atomically(&self.recipe(), |writer| {
            writer.write_all(recipe.to_toml().as_bytes())
        })?;
        Ok(())
    }

    /// Makes the folder of a model that was trained elsewhere. Nothing of an older run goes before
    /// the whole of the new model is on the disk, beside the folder or in it.
    pub fn settle(
        &self,
        recipe: &Recipe,
        weights: &Weights,
        batches: u64,
    ) -> Result<(), FolderError> {
        let beside = match self.path.is_dir() {
            true => &self.path,
            false => folder_of(&self.path),
        };
        std::fs::create_dir_all(beside).map_err(|source| self.io("create", source))?;
        let staging = temporary_name()
            .tempdir_in(beside)
            .map_err(|source| self.io("create a temporary folder for", source))?;
        let staged = RunFolder::existing(staging.path());
        weights.save(&staged.model(), recipe, batches)?;
        self.begin(recipe)?;
        std::fs::rename(staged.model(), self.model())
            .map_err(|source| self.io("rename the model into", source))
    }

    /// The folder of a phase before the last one.
    pub fn phase(&self, name: &str) -> RunFolder {
        RunFolder::existing(&self.path.join("phases").join(name))
    }

    /// The folders of the phases before the last one that are there.
    fn phases(&self) -> Vec<RunFolder> {
        let entries = std::fs::read_dir(self.path.join("phases"));
        let entries = entries.into_iter().flatten().flatten();
        entries
            .map(|entry| RunFolder::existing(&entry.path()))
            .collect()
    }

    /// The checkpoint of a run that is to be gone on with; none if it has not come to its first.
    ///
    /// Errors if it is of another recipe: of one that trains something else, that is.
    pub fn checkpoint_of(&self, recipe: &Recipe) -> Result<Option<Checkpoint>, FolderError> {
        if !self.checkpoint().is_file() {
            return Ok(None);
        }
        let (checkpoint, mut of) = Checkpoint::load(&self.checkpoint())?;
        // What is judged afterwards does not change what is trained.
        of.evaluate = recipe.evaluate.clone();
        if of != *recipe {
            return Err(FolderError::OtherRecipe {
                path: self.path.clone(),
                differences: differences(&of.to_toml(), &recipe.to_toml()),
            });
        }
        Ok(Some(checkpoint))
    }

    /// Removes the files of a run, of all its phases, and nothing else.
    fn clear(&self) -> Result<(), FolderError> {
        for phase in self.phases() {
            phase.clear()?;
        }
        let files = [
            self.summary(),
            self.measurements(),
            self.reconstructions(),
            self.features("train"),
            self.features("test"),
            self.model(),
            self.checkpoint(),
            self.metrics(),
        ];
        for file in files {
            match std::fs::remove_file(&file) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(FolderError::Io {
                        what: "remove",
                        path: file,
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    fn io(&self, what: &'static str, source: std::io::Error) -> FolderError {
        FolderError::Io {
            what,
            path: self.path.clone(),
            source,
        }
    }

    /// The trained model and its recipe.
    pub fn load_model(&self) -> Result<(Weights, Recipe), FolderError> {
        if !self.path.exists() {
            return Err(FolderError::NoRun(self.path.clone()));
        }
        if !self.model().is_file() {
            return Err(FolderError::NoModel(self.path.clone()));
        }
        Ok(Weights::load(&self.model())?)
    }

    /// The recipe, every default spelled out.
    pub fn recipe(&self) -> PathBuf {
        self.path.join("recipe.toml")
    }

    /// A line of JSON per epoch.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// What `--resume` needs.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint.safetensors")
    }

    /// The trained model.
    pub fn model(&self) -> PathBuf {
        self.path.join("model.safetensors")
    }

    /// Features of the `train` or `test` images.
    pub fn features(&self, part: &str) -> PathBuf {
        self.path.join("features").join(format!("{part}.npy"))
    }

    /// Pictures: clean, noisy, reconstructed.
    pub fn reconstructions(&self) -> PathBuf {
        self.path.join("reconstructions.png")
    }

    /// A row of CSV per measured value.
    pub fn measurements(&self) -> PathBuf {
        self.path.join("measurements.csv")
    }

    /// The result.
    pub fn summary(&self) -> PathBuf {
        self.path.join("summary.json")
    }
}

/// Lines that only one of two texts has.
fn differences(there: &str, asked: &str) -> String {
    let only = |of: &str, other: &str| -> Vec<String> {
        let missing = of.lines().filter(|line| !other.lines().any(|l| l == *line));
        missing.map(|line| format!("`{line}`")).collect()
    };
    format!(
        "{} there, {} asked for",
        only(there, asked).join(", "),
        only(asked, there).join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe::load("mnist-dense").expect("built in")
    }

    #[test]
    fn a_new_run_gets_a_folder_with_its_recipe() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let path = parent.path().join("deep/run");
        let folder = RunFolder::open(&path, Start::New).expect("new");
        assert!(!path.exists());
        folder.begin(&recipe()).expect("made");
        assert_eq!(Recipe::read(&folder.recipe()).expect("written"), recipe());
    }

    #[test]
    fn a_run_is_replaced_only_by_force_and_only_its_own_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        let run = RunFolder::open(path, Start::New).expect("empty");
        run.begin(&recipe()).expect("made");
        let error = RunFolder::open(path, Start::New).expect_err("taken");
        assert!(error.to_string().contains("--resume"), "{error}");
        std::fs::write(path.join("notes.txt"), "mine").expect("written");
        std::fs::write(path.join("summary.json"), "{}").expect("written");
        let run = RunFolder::open(path, Start::Force).expect("forced");
        assert!(
            path.join("summary.json").is_file(),
            "nothing goes before the new run begins"
        );
        run.begin(&recipe()).expect("made");
        assert!(path.join("notes.txt").is_file());
        assert!(!path.join("summary.json").exists());
    }

    #[test]
    fn a_folder_of_something_else_is_never_touched() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("thesis.tex"), "…").expect("written");
        for start in [Start::New, Start::Force] {
            let error = RunFolder::open(folder.path(), start).expect_err("not a run");
            assert!(error.to_string().contains("--out"), "{error}");
        }
    }

    #[test]
    fn resuming_without_a_checkpoint_says_so() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = RunFolder::open(folder.path(), Start::Resume).expect_err("none");
        assert!(error.to_string().contains("no checkpoint"), "{error}");
    }
}
