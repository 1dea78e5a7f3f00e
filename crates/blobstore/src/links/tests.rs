//! Link files on a disk of the test's own: what is found, what is told as an obstacle, what is written and taken away. That a
//! real Distribution reads them is shown by `e2e/import.sh`.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;

use oci::{Algorithm, Digest, RepositoryName, Tag};

use super::{FoundLink, FoundRepository, LinkContent, LinkFiles, LinkPlace, RepositoryLinks};

struct World {
    root: tempfile::TempDir,
    files: LinkFiles,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory can be made");
        let files = LinkFiles::below(root.path()).expect("the path is absolute");
        Self { root, files }
    }

    fn repository(&self, name: &str) -> RepositoryLinks {
        let name = RepositoryName::parse(name).expect("the test names a repository");
        self.files.repository(&name)
    }

    /// Returns the names of repositories and the paths of obstacles.
    fn repositories(&self) -> (Vec<String>, Vec<String>) {
        let (mut names, mut obstacles) = (Vec::new(), Vec::new());
        let walked = self.files.repositories(&mut |found| {
            match found {
                FoundRepository::Repository(links) => names.push(links.name().to_string()),
                FoundRepository::Obstacle(obstacle) => obstacles.push(obstacle.path),
            }
            ControlFlow::Continue(())
        });
        walked.expect("the root can be read");
        (names, obstacles)
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        let repositories = self.root.path().join("docker/registry/v2/repositories");
        repositories.join(below)
    }
}

fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).expect("the test names a tag")
}

fn links(repository: &RepositoryLinks) -> Vec<FoundLink> {
    let mut found = Vec::new();
    let walked = repository.links(&mut |link| {
        found.push(link);
        ControlFlow::Continue(())
    });
    walked.expect("the repository can be read");
    found
}

#[test]
fn a_name_ends_where_distributions_own_directories_begin_and_others_may_be_below_it() {
    let world = World::new();
    assert!(!world.files.any().expect("reads"));
    for name in ["b/c", "b", "a/x/y"] {
        let repository = world.repository(name);
        repository
            .write(LinkPlace::Layer(&digest(name)), &digest(name))
            .expect("writes");
    }
    for below in [
        "Upper/_manifests/tags",
        "no/_uploads/0c8f",
        "b/_layers/sha256/_manifests",
    ] {
        fs::create_dir_all(world.path(below)).expect("the test's own directory");
    }
    fs::write(world.path("README"), "a file").expect("the test's own directory");
    symlink("b", world.path("linked")).expect("the test's own directory");
    assert!(world.files.any().expect("reads"));
    let (names, obstacles) = world.repositories();
    assert_eq!(names, ["a/x/y", "b", "b/c"]);
    let told: Vec<&str> = obstacles
        .iter()
        .map(|path| path.rsplit('/').next().expect("a path has an end"))
        .collect();
    assert_eq!(told, ["linked", "Upper"]);
}

#[test]
fn links_are_told_layers_first_and_tags_last_with_what_is_in_them() {
    let world = World::new();
    let repository = world.repository("a");
    let (old, new) = (digest("old"), digest("new"));
    for place in [
        LinkPlace::Index(&tag("torn"), &old),
        LinkPlace::Index(&tag("torn"), &new),
        LinkPlace::Current(&tag("torn")),
        LinkPlace::Current(&tag("whole")),
        LinkPlace::Revision(&new),
        LinkPlace::Layer(&old),
    ] {
        repository.write(place, &new).expect("writes");
    }
    fs::write(world.path("a/_manifests/tags/torn/current/link"), "sha25").expect("writes");
    fs::create_dir_all(world.path("a/_manifests/tags/never finished")).expect("writes");
    fs::create_dir_all(world.path("a/_layers/sha384/00")).expect("writes");
    let mut told = Vec::new();
    for link in links(&repository) {
        told.push(match link {
            FoundLink::Layer(name, file) => {
                assert_eq!(file.content, LinkContent::Digest(new));
                assert!(file.written_at > 0);
                format!("layer {}", name == old)
            }
            FoundLink::Revision(name, _) => format!("revision {}", name == new),
            FoundLink::Tag { tag, file, index } => {
                format!(
                    "tag {tag} {:?} {}",
                    file.content == LinkContent::Torn,
                    index.len()
                )
            }
            FoundLink::Obstacle(obstacle) => obstacle.path,
        });
    }
    told.sort();
    assert_eq!(
        told,
        [
            "docker/registry/v2/repositories/a/_layers/sha384",
            "layer true",
            "revision true",
            "tag torn true 2",
            "tag whole false 0",
        ]
    );
}

#[test]
fn a_link_is_a_digest_without_a_newline_and_replaces_what_was_there() {
    let world = World::new();
    let repository = world.repository("a");
    let place = LinkPlace::Current(&tag("1"));
    assert_eq!(repository.read(place).expect("reads"), None);
    for content in ["old", "new"] {
        repository.write(place, &digest(content)).expect("writes");
    }
    let path = world.path("a/_manifests/tags/1/current");
    let text = fs::read_to_string(path.join("link")).expect("it is there");
    assert_eq!(text, digest("new").to_string());
    assert_eq!(
        fs::read_dir(path).expect("reads").count(),
        1,
        "nothing is left beside it"
    );
    world.files.flush().expect("flushes");
}

#[test]
fn what_people_or_crashes_leave_in_a_link_is_told_apart() {
    let world = World::new();
    let repository = world.repository("a");
    let whole = digest("whole");
    let place = LinkPlace::Revision(&whole);
    repository.write(place, &whole).expect("writes");
    let path = world.root.path().join(repository.path_of(place));
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("writes");
        let file = repository.read(place).expect("reads");
        file.expect("it is there").content
    };
    let edited = format!("{whole}\n");
    assert_eq!(read(edited.as_bytes()), LinkContent::Digest(whole));
    assert_eq!(read(b""), LinkContent::Empty);
    assert_eq!(read(&[0; 71]), LinkContent::Torn);
    assert_eq!(read(&edited.as_bytes()[..40]), LinkContent::Torn);
    assert_eq!(read(&[0xff; 4096]), LinkContent::Torn);
    let other = format!("sha384:{}", "a".repeat(96));
    assert!(matches!(
        read(other.as_bytes()),
        LinkContent::Unsupported { .. }
    ));
}

#[test]
fn what_is_taken_away_leaves_no_empty_repository_and_what_is_not_ours_stays() {
    let world = World::new();
    let (one, below) = (world.repository("a/b"), world.repository("a/b/c"));
    let gone = digest("gone");
    for repository in [&one, &below] {
        repository
            .write(LinkPlace::Layer(&gone), &gone)
            .expect("writes");
    }
    one.write(LinkPlace::Current(&tag("1")), &gone)
        .expect("writes");
    for place in [LinkPlace::Current(&tag("1")), LinkPlace::Layer(&gone)] {
        one.remove(place).expect("removes");
        one.remove(place).expect("twice does no harm");
    }
    one.remove_empty(&world.files).expect("removes");
    assert_eq!(world.repositories().0, ["a/b/c"]);
    below.remove(LinkPlace::Layer(&gone)).expect("removes");
    below.remove_empty(&world.files).expect("removes");
    assert!(!world.files.any().expect("reads"));
    assert!(
        world.path("").is_dir(),
        "the directory of all repositories stays"
    );
}

#[test]
fn a_visitor_that_has_enough_is_not_called_again() {
    let world = World::new();
    for name in ["a", "b"] {
        let repository = world.repository(name);
        for content in ["x", "y"] {
            repository
                .write(LinkPlace::Layer(&digest(content)), &digest(content))
                .expect("writes");
        }
    }
    let mut seen = 0;
    let walked = world.files.repositories(&mut |found| {
        seen += 1;
        if let FoundRepository::Repository(links) = found {
            let mut links_seen = 0;
            let walked = links.links(&mut |_| {
                links_seen += 1;
                ControlFlow::Break(())
            });
            walked.expect("reads");
            assert_eq!(links_seen, 1);
        }
        ControlFlow::Break(())
    });
    walked.expect("reads");
    assert_eq!(seen, 1);
    let path = world.repository("a").path();
    assert_eq!(path, "docker/registry/v2/repositories/a");
}

#[test]
fn a_link_file_that_is_a_symbolic_link_is_told_as_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let link = directory.path().join("link");
    symlink("/etc/hostname", &link).expect("the test's own directory");
    let told = super::file::read(&link).expect_err("it is not followed");
    assert_eq!(told.to_string(), "it is a symbolic link");
}
