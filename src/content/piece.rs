//! One piece of an upload as a request brings it: how much of it is taken, and what is kept when it breaks off or is not
//! what it said.

use super::error::Error;
use super::ingest::{Checkpoint, Drained, Ingest};
use super::open::ByteStream;

/// A piece of an upload, as a request brings it.
pub struct Piece {
    /// The offset the client says it starts at, in bytes.
    pub start: Option<u64>,
    /// The length the client announced, in bytes.
    pub length: Option<u64>,
    /// The bytes.
    pub body: ByteStream,
}

/// What a request brought that is worth keeping.
pub(super) enum Taken {
    /// The whole piece.
    All,
    /// As much as was asked for; there may be more.
    Part,
    /// What came before the connection broke.
    UntilBroken(Error),
}

/// Takes at most `budget` bytes of the piece for an upload that stands at `start`, and makes them durable.
pub(super) async fn take(
    ingest: &mut Ingest,
    piece: &mut Piece,
    start: u64,
    budget: u64,
) -> Result<(Taken, Checkpoint), Error> {
    let taken = kept_after(drain_piece(ingest, piece, start, budget).await)?;
    Ok((taken, ingest.flush().await?))
}

/// Tells whether the bytes taken are kept: they are when the connection broke, not when the length was
/// a lie or the storage failed.
fn kept_after(drained: Result<Drained, Error>) -> Result<Taken, Error> {
    match drained {
        Ok(Drained::End) => Ok(Taken::All),
        Ok(Drained::Budget) => Ok(Taken::Part),
        Err(broken @ Error::BodyBroken { .. }) => Ok(Taken::UntilBroken(broken)),
        Err(error) => Err(error),
    }
}

/// Takes at most `budget` bytes of the piece; refuses one that is longer or shorter than announced.
async fn drain_piece(
    ingest: &mut Ingest,
    piece: &mut Piece,
    start: u64,
    budget: u64,
) -> Result<Drained, Error> {
    let drained = ingest.drain(&mut piece.body, budget).await;
    if let Some(stated) = piece.length {
        let received = ingest.accepted() - start;
        let ended_early = matches!(drained, Ok(Drained::End)) && received < stated;
        if received > stated || ended_early {
            return Err(Error::LengthMismatch { stated, received });
        }
        if matches!(drained, Ok(Drained::Budget)) {
            piece.length = Some(stated - received);
        }
    }
    drained
}
