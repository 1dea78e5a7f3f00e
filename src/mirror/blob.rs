//! A blob of a mirrored repository: stored, arriving, or to be fetched. A body that does not hash to its
//! digest is never stored, and one there is no room for is passed through.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use oci::Digest;

use super::account::{Miss, MissReason, Told};
use super::ahead::{Ahead, Places};
use super::download::{Download, Length, Wanted};
use super::error::{Error, mismatch, trouble};
use super::flights::Flights;
use super::follower::{Arrived, Fetch, Follower};
use super::inflight::{FetchKey, Inflight, Lead};
use super::missing::Thing;
use super::no_room::NoRoom;
use super::passthrough::Passing;
use super::remotes::{Mirror, Target};
use super::tally::{Saved, Tally};
use crate::content::{
    self, Content, Fill, Filled, GrowingFile, MirroredBlob, ROOM_PATIENCE, Room, StoredBlob,
};
use crate::telemetry::Kind;
use crate::upstream::{BlobBody, Patience};

/// Where a mirrored blob was found.
pub enum BlobFound {
    /// Whole and stored here.
    Stored {
        /// The blob.
        blob: StoredBlob,
        /// Counts what is sent of it.
        saved: Saved,
    },
    /// On its way.
    Arriving {
        /// The reader.
        follower: Follower,
        /// The size in bytes, if the upstream told it.
        total: Option<u64>,
    },
}

/// What all requests for blobs share.
#[derive(Default)]
pub(super) struct Blobs {
    pub inflight: Inflight,
    pub heads: Flights<FetchKey, Option<u64>>,
    places: Places,
    no_room: Arc<NoRoom>,
}

impl Mirror {
    /// Returns the blob `digest` of `target` for a client, fetching it if it is not stored.
    ///
    /// # Errors
    /// The upstream's answer, or storage errors.
    pub async fn blob(
        self: &Arc<Self>,
        target: &Target,
        digest: &Digest,
    ) -> Result<BlobFound, Error> {
        let told = Told::begin(target, Kind::Blob, digest);
        let tally = Tally::new(&self.metrics, target);
        match self.found(target, digest, &told).await {
            Ok(BlobFound::Arriving {
                mut follower,
                total,
            }) => {
                follower.tally = Some(tally);
                Ok(BlobFound::Arriving { follower, total })
            }
            Ok(stored @ BlobFound::Stored { .. }) => {
                tally.hit();
                Ok(stored)
            }
            Err(error) => {
                tally.failed();
                told.error(&error);
                Err(error)
            }
        }
    }

    async fn found(
        self: &Arc<Self>,
        target: &Target,
        digest: &Digest,
        told: &Told<'_>,
    ) -> Result<BlobFound, Error> {
        target.refuse_unlisted()?;
        let reason = match self.stored_blob(target, digest).await? {
            MirroredBlob::Whole(blob) => {
                let saved = Saved::of(&self.metrics, target);
                return Ok(BlobFound::Stored { blob, saved });
            }
            MirroredBlob::Damaged => MissReason::Damaged,
            MirroredBlob::Absent => MissReason::NotStored,
        };
        let thing = Thing::Blob(*digest);
        self.refuse_missing(target, &thing)?;
        let mut follower = self.follow(target, digest);
        let joined = !follower.leads();
        if joined {
            self.metrics.joined(&target.remote.label);
        }
        let started = follower.started(target).await;
        let total = started.inspect_err(|error| self.note_missing(target, thing, error))?;
        let reason = if follower.is_passing() {
            MissReason::NoRoom
        } else {
            reason
        };
        told.miss(Miss { reason, joined });
        Ok(BlobFound::Arriving { follower, total })
    }

    /// Brings the blob here for nobody in particular; returns its size in bytes. `arrived` hears how many of them are
    /// here while it is fetched.
    ///
    /// # Errors
    /// The upstream's answer, or storage errors; `StorageFull` when there is no room to keep it.
    pub(super) async fn store_blob(
        self: &Arc<Self>,
        target: &Target,
        digest: &Digest,
        arrived: &Arrived<'_>,
    ) -> Result<u64, Error> {
        target.refuse_unlisted()?;
        match self.stored_blob(target, digest).await? {
            MirroredBlob::Whole(stored) => Ok(stored.size()),
            MirroredBlob::Damaged | MirroredBlob::Absent => {
                if self.blobs.no_room.is_recent() {
                    return Err(content::Error::StorageFull.into());
                }
                let mut follower = self.follow(target, digest);
                follower.settled_telling(arrived).await
            }
        }
    }

    /// Joins the fetch of a blob that is not stored, or begins it.
    fn follow(&self, target: &Target, digest: &Digest) -> Follower {
        let fetch = || Fetch {
            target: target.clone(),
            digest: *digest,
            metrics: self.metrics.clone(),
            ahead: Ahead::new(self.blobs.places.clone()),
        };
        let filling = Filling {
            content: Arc::clone(&self.content),
            no_room: Arc::clone(&self.blobs.no_room),
            target: target.clone(),
            digest: *digest,
        };
        let key = FetchKey::new(target, digest);
        let inflight = &self.blobs.inflight;
        inflight.join_or_lead(key, fetch, |lead| async move { filling.fetch(&lead).await })
    }

    /// Returns the blob if its bytes are here and it is known to belong to the repository. Bytes that
    /// another repository brought are shared only after the upstream said that they belong here.
    pub(super) async fn stored_blob(
        self: &Arc<Self>,
        target: &Target,
        digest: &Digest,
    ) -> Result<MirroredBlob, Error> {
        let repository = &target.repository;
        match self.content.mirrored_blob(repository, digest).await? {
            MirroredBlob::Absent => {}
            found => return Ok(found),
        }
        if !self.content.has_bytes(digest).await? {
            return Ok(MirroredBlob::Absent);
        }
        let asked = self.head_blob(target, digest).await;
        match asked.and_then(|answer| answer.outcome) {
            Ok(_) => Ok(self.content.adopt_blob(repository, digest).await?),
            Err(error) if error.is_not_found() => Err(error),
            // Some answer HEAD of what they send on GET with an error: the GET tells as well.
            Err(_) => Ok(MirroredBlob::Absent),
        }
    }
}

/// A fetch into the store; runs as a task of its own.
struct Filling {
    content: Arc<Content>,
    no_room: Arc<NoRoom>,
    target: Target,
    digest: Digest,
}

impl Filling {
    async fn fetch(&self, lead: &Lead) -> Result<(), Error> {
        let (content, target) = (&self.content, &self.target);
        let (repository, digest) = (&target.repository, &self.digest);
        // Whoever led before may have finished between our look and our lead.
        if let MirroredBlob::Whole(stored) = content.mirrored_blob(repository, digest).await? {
            lead.whole(stored.size(), stored.as_arrived());
            return Ok(());
        }
        let stated = content.stated_size(repository, digest).await?;
        // Before the upstream is asked: without room, nobody waits in its line of connections.
        let room = self.room_for(stated).await;
        let wanted = Wanted {
            target: target.clone(),
            digest: *digest,
            end: None,
            patience: if room.is_some() {
                Patience::Waits
            } else {
                Patience::AtOnce
            },
        };
        let body = wanted.ask(0).await;
        let body = body.map_err(|error| trouble(target, error))?;
        let length = Length::new(target, digest, stated, body.total)?;
        let room = match room {
            Some(room) if length.limit == stated => Some(room),
            Some(other) => {
                drop(other);
                self.room_for(length.limit).await
            }
            None => None,
        };
        let Some(room) = room else {
            self.no_room.tell(&target.remote.label, Instant::now());
            return pass(lead, length, Some(body), None);
        };
        let teller = lead.clone();
        let room = Arc::new(room);
        let growing = Arc::clone(&room);
        let on_written = Arc::new(move |written| {
            growing.written(written);
            teller.written(written);
        });
        let (fill, file) = match content.begin_fill(repository, digest, on_written).await {
            Ok(begun) => begun,
            Err(content::Error::StorageFull) => {
                self.meet_full_disk();
                return pass(lead, length, Some(body), None);
            }
            Err(error) => return Err(error.into()),
        };
        lead.arriving(length, file.clone());
        let download = Download::new(wanted, body, 0, length)?;
        let filled = self.fill(lead, fill, file, download, length).await;
        // Until it is stored and counted as such.
        drop(room);
        filled
    }

    /// Takes room for `bytes`, unless the disk was found full a moment ago.
    async fn room_for(&self, bytes: Option<u64>) -> Option<Room> {
        if self.no_room.is_recent() {
            return None;
        }
        // Who joined waits no longer than the read timeout, and a part of that is for the upstream.
        let patience = ROOM_PATIENCE.min(self.target.remote.settings.timeout.read / 4);
        self.content.take_room(bytes, patience).await
    }

    /// Remembers for a moment that the disk is full, and has room made.
    fn meet_full_disk(&self) {
        self.no_room.met(&self.target.remote.label);
        self.content.ask_for_room();
    }

    /// Takes the whole body and keeps it, or goes over to passing it through.
    async fn fill(
        &self,
        lead: &Lead,
        mut fill: Fill,
        file: GrowingFile,
        download: Download,
        length: Length,
    ) -> Result<(), Error> {
        let (content, target) = (&self.content, &self.target);
        let upstream = &target.remote.settings.name;
        let (stream, failure) = download.into_stream();
        let error: Error = match fill.take(stream).await {
            Ok(()) => match content.commit_fill(fill, upstream).await {
                Ok(Filled::Stored { size }) => {
                    lead.whole(size, file);
                    return Ok(());
                }
                Ok(Filled::NotKept { size }) => {
                    self.meet_full_disk();
                    lead.whole(size, file);
                    return Ok(());
                }
                Err(content::Error::DigestMismatch { stated, actual }) => {
                    return Err(mismatch(target, &stated, &actual));
                }
                Err(error) => error.into(),
            },
            Err(error) => {
                content.abandon_fill(fill).await;
                failure.take().unwrap_or_else(|| error.into())
            }
        };
        if let Error::Content(content::Error::StorageFull) = error {
            self.meet_full_disk();
            return pass(lead, length, None, Some(file));
        }
        tracing::warn!(upstream, repository = %target.repository, digest = %self.digest, %error, "could not fetch a blob");
        Err(error)
    }
}

/// Leaves the rest to the readers.
fn pass(
    lead: &Lead,
    length: Length,
    spare: Option<BlobBody>,
    file: Option<GrowingFile>,
) -> Result<(), Error> {
    lead.passing(Passing {
        length,
        file,
        spare: Arc::new(Mutex::new(spare)),
    });
    Ok(())
}
