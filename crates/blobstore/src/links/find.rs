//! Finding repositories and their link files, one directory at a time. Links are told as they are read and none is kept;
//! what is no link of Distribution's is passed over, and what is one but cannot be read is told as an obstacle.

use std::fs::{self, DirEntry};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use oci::{Algorithm, Digest, RepositoryName, Tag};

use super::file::{self, LinkContent, LinkFile, is_absence};
use super::place::{self, LinkPlace};

/// Where repositories begin, below the root.
const REPOSITORIES: &str = "docker/registry/v2/repositories";

/// The link files below one root.
#[derive(Clone, Debug)]
pub struct LinkFiles {
    repositories: PathBuf,
}

/// The link files of one repository.
#[derive(Clone, Debug)]
pub struct RepositoryLinks {
    name: RepositoryName,
    directory: PathBuf,
}

/// Something that is not as Distribution makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Where, below the root.
    pub path: String,
    /// What is wrong, in words.
    pub reason: String,
}

/// What a walk over the repositories meets.
#[derive(Clone, Debug)]
pub enum FoundRepository {
    /// A repository.
    Repository(RepositoryLinks),
    /// Something that keeps repositories from being found.
    Obstacle(Obstacle),
}

/// What a walk over the links of a repository meets.
#[derive(Clone, Debug)]
pub enum FoundLink {
    /// The link of a blob.
    Layer(Digest, LinkFile),
    /// The link of a manifest.
    Revision(Digest, LinkFile),
    /// The link of a tag.
    Tag {
        /// The tag.
        tag: Tag,
        /// Its link.
        file: LinkFile,
        /// Everything it ever pointed to; told only where the link does not tell what it points to now.
        index: Vec<Digest>,
    },
    /// Something that is no link, where one should be.
    Obstacle(Obstacle),
}

/// Whether to go on.
type Flow = io::Result<ControlFlow<()>>;

impl LinkFiles {
    /// Returns the link files below `root`.
    ///
    /// # Errors
    /// When the working directory is needed and gone.
    pub fn below(root: &Path) -> io::Result<Self> {
        Ok(Self {
            repositories: std::path::absolute(root)?.join(REPOSITORIES),
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.repositories
    }

    /// Tells whether there may be repositories.
    ///
    /// # Errors
    /// What the file system says, with the path.
    pub fn any(&self) -> io::Result<bool> {
        Ok(entries(&self.repositories)?.next().is_some())
    }

    /// Returns the links of the repository `name`, which need not exist.
    pub fn repository(&self, name: &RepositoryName) -> RepositoryLinks {
        RepositoryLinks {
            name: name.clone(),
            directory: self.repositories.join(name.as_str()),
        }
    }

    /// Calls `visit` for every repository, each before those below its name, until it breaks.
    ///
    /// # Errors
    /// What may not be read, with its path: whoever runs this has to mend it.
    pub fn repositories(
        &self,
        visit: &mut dyn FnMut(FoundRepository) -> ControlFlow<()>,
    ) -> io::Result<()> {
        // The names still to be looked at, the next one last.
        let mut names = vec![String::new()];
        while let Some(name) = names.pop() {
            let directory = self.repositories.join(&name);
            let mut found = None;
            let mut below = Vec::new();
            let obstacle = match look_into(&directory, &mut below) {
                Ok(true) => match RepositoryName::parse(&name) {
                    Ok(name) => {
                        found = Some(RepositoryLinks {
                            name,
                            directory: directory.clone(),
                        });
                        None
                    }
                    Err(error) => Some(error.to_string()),
                },
                Ok(false) => None,
                Err(error) => Some(bearable(&directory, error)?.to_string()),
            };
            let found = found.map(FoundRepository::Repository);
            let obstacle =
                obstacle.map(|reason| FoundRepository::Obstacle(self.obstacle(&directory, reason)));
            for told in found.into_iter().chain(obstacle) {
                if visit(told).is_break() {
                    return Ok(());
                }
            }
            below.sort_unstable_by(|a, b| b.name.cmp(&a.name));
            for child in below {
                let joined = if name.is_empty() {
                    child.name
                } else {
                    format!("{name}/{}", child.name)
                };
                if child.is_link {
                    let path = self.repositories.join(&joined);
                    let told = self.obstacle(&path, "it is a symbolic link".to_owned());
                    if visit(FoundRepository::Obstacle(told)).is_break() {
                        return Ok(());
                    }
                } else {
                    names.push(joined);
                }
            }
        }
        Ok(())
    }

    fn obstacle(&self, path: &Path, reason: String) -> Obstacle {
        let below = path.strip_prefix(&self.repositories).unwrap_or(path);
        Obstacle {
            path: Path::new(REPOSITORIES).join(below).display().to_string(),
            reason,
        }
    }
}

/// A directory below a name.
struct Child {
    name: String,
    is_link: bool,
}

/// Adds the names below `directory` and returns whether it is a repository itself. Components that begin with an
/// underscore end a name.
fn look_into(directory: &Path, below: &mut Vec<Child>) -> io::Result<bool> {
    let mut is_repository = false;
    for entry in plain_entries(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name();
        // A name that is no text is no component of anything.
        let Some(name) = name.to_str() else { continue };
        if matches!(name, "_manifests" | "_layers") && !kind.is_file() {
            is_repository = true;
        } else if !name.starts_with('_') && (kind.is_dir() || kind.is_symlink()) {
            below.push(Child {
                name: name.to_owned(),
                is_link: kind.is_symlink(),
            });
        }
    }
    Ok(is_repository)
}

impl RepositoryLinks {
    /// Returns the repository's name.
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns where the repository lies, below the root.
    pub fn path(&self) -> String {
        let repository = Path::new(REPOSITORIES).join(self.name.as_str());
        repository.display().to_string()
    }

    /// Returns where a link lies, below the root.
    pub fn path_of(&self, place: LinkPlace<'_>) -> String {
        self.below_root(&place.file(&self.directory))
    }

    /// Returns the digests that the index of a tag names by its paths; none for a tag that is not there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn index(&self, tag: &Tag) -> io::Result<Vec<Digest>> {
        index_of(&place::tag(&self.directory, tag))
    }

    fn below_root(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.directory).unwrap_or(path);
        let repository = Path::new(REPOSITORIES).join(self.name.as_str());
        repository.join(below).display().to_string()
    }

    /// Calls `visit` for the link of every blob, then of every manifest, then of every tag, until it breaks. Links that
    /// a crash left without a file are no links.
    ///
    /// # Errors
    /// What may not be read, with its path.
    pub fn links(&self, visit: &mut dyn FnMut(FoundLink) -> ControlFlow<()>) -> io::Result<()> {
        let layers = place::layers(&self.directory);
        if self
            .of_digests(&layers, FoundLink::Layer, visit)?
            .is_break()
        {
            return Ok(());
        }
        let revisions = place::revisions(&self.directory);
        if self
            .of_digests(&revisions, FoundLink::Revision, visit)?
            .is_break()
        {
            return Ok(());
        }
        self.of_tags(visit).map(drop)
    }

    /// Visits `<algorithm>/<hex>/link` below `directory`.
    fn of_digests(
        &self,
        directory: &Path,
        found: fn(Digest, LinkFile) -> FoundLink,
        visit: &mut dyn FnMut(FoundLink) -> ControlFlow<()>,
    ) -> Flow {
        for algorithm in self.listing(directory, visit)? {
            let algorithm = algorithm?;
            if !is_directory(&algorithm)? {
                continue;
            }
            let name = algorithm.file_name();
            let Some(name) = name.to_str() else { continue };
            if Algorithm::parse(name).is_none() {
                let reason = format!("links of the algorithm {name:?} are not supported");
                if self.tell(&algorithm.path(), reason, visit).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                continue;
            }
            for entry in self.listing(&algorithm.path(), visit)? {
                let entry = entry?;
                let Some(digest) = digest_of(name, &entry) else {
                    continue;
                };
                let path = entry.path().join("link");
                let told = match file::read(&path) {
                    Ok(None) => continue,
                    Ok(Some(file)) => visit(found(digest, file)),
                    Err(error) => {
                        let reason = bearable(&path, error)?.to_string();
                        self.tell(&path, reason, visit)
                    }
                };
                if told.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn of_tags(&self, visit: &mut dyn FnMut(FoundLink) -> ControlFlow<()>) -> Flow {
        for entry in self.listing(&place::tags(&self.directory), visit)? {
            let entry = entry?;
            if !is_directory(&entry)? {
                continue;
            }
            let path = entry.path().join("current").join("link");
            let file = match file::read(&path) {
                Ok(None) => continue,
                Ok(Some(file)) => file,
                Err(error) => {
                    let reason = bearable(&path, error)?.to_string();
                    if self.tell(&path, reason, visit).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    continue;
                }
            };
            let name = entry.file_name();
            let tag = name.to_str().and_then(|name| Tag::parse(name).ok());
            let told = match tag {
                None => self.tell(
                    &path,
                    "its directory is not named like a tag".to_owned(),
                    visit,
                ),
                Some(tag) => {
                    let index = match file.content {
                        LinkContent::Digest(_) => Vec::new(),
                        LinkContent::Empty
                        | LinkContent::Torn
                        | LinkContent::Unsupported { .. } => index_of(&entry.path())?,
                    };
                    visit(FoundLink::Tag { tag, file, index })
                }
            };
            if told.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Lists a directory of this repository; what cannot be listed is told and counts as empty.
    fn listing(
        &self,
        directory: &Path,
        visit: &mut dyn FnMut(FoundLink) -> ControlFlow<()>,
    ) -> io::Result<Box<dyn Iterator<Item = io::Result<DirEntry>>>> {
        match plain_entries(directory) {
            Ok(entries) => Ok(Box::new(entries)),
            Err(error) => {
                let reason = bearable(directory, error)?.to_string();
                // A visitor that has enough says so again at the next link.
                let _ = self.tell(directory, reason, visit);
                Ok(Box::new(std::iter::empty()))
            }
        }
    }

    fn tell(
        &self,
        path: &Path,
        reason: String,
        visit: &mut dyn FnMut(FoundLink) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        visit(FoundLink::Obstacle(Obstacle {
            path: self.below_root(path),
            reason,
        }))
    }
}

/// Returns the digests that the index of a tag names by its paths.
fn index_of(tag: &Path) -> io::Result<Vec<Digest>> {
    let mut digests = Vec::new();
    for algorithm in entries(&place::index(tag))? {
        let algorithm = algorithm?;
        let name = algorithm.file_name();
        let Some(name) = name.to_str() else { continue };
        for entry in entries(&algorithm.path())? {
            let entry = entry?;
            if let Some(digest) = digest_of(name, &entry)
                && entry.path().join("link").is_file()
            {
                digests.push(digest);
            }
        }
    }
    Ok(digests)
}

fn digest_of(algorithm: &str, entry: &DirEntry) -> Option<Digest> {
    let hex = entry.file_name();
    Digest::parse(&format!("{algorithm}:{}", hex.to_str()?)).ok()
}

fn is_directory(entry: &DirEntry) -> io::Result<bool> {
    match entry.file_type() {
        Err(error) if is_absence(&error) => Ok(false),
        kind => Ok(kind?.is_dir()),
    }
}

/// Returns the error as one that can be told and passed over, unless it means that this user may not read here: then all
/// would look broken that is not.
fn bearable(path: &Path, error: io::Error) -> io::Result<io::Error> {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Err(with_path(path, &error));
    }
    Ok(error)
}

fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot read {}: {error}", path.display()),
    )
}

/// Returns what is in a directory; nothing when there is none.
fn plain_entries(path: &Path) -> io::Result<impl Iterator<Item = io::Result<DirEntry>> + use<>> {
    let listing = match fs::read_dir(path) {
        Err(error) if is_absence(&error) => None,
        listing => Some(listing?),
    };
    Ok(listing.into_iter().flatten())
}

/// The same, with the path in the error.
fn entries(path: &Path) -> io::Result<impl Iterator<Item = io::Result<DirEntry>> + use<>> {
    plain_entries(path).map_err(|error| with_path(path, &error))
}
