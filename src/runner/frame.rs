//! Frames on the runner's socket: four bytes of length, the highest first,
//! then that many bytes of JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Room for the 4,096 addresses that an instance may have. A longer frame is
/// refused by its length alone, before anything of it is read or allocated.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// After any of these the connection is of no use.
#[derive(Debug, Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes; {FRAME_BYTES_MAX} are allowed")]
    TooLong(usize),
    #[error("a frame that is not understood: {0}")]
    Garbage(#[from] serde_json::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The next message; nothing at the end of the connection, if that is between
/// two frames. Not safe to be given up: a part may have been read.
pub async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> Result<Option<T>, FrameError> {
    let mut length = [0; 4];
    let mut filled = 0;
    while let Some(rest) = length.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest).await? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            count => filled += count,
        }
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(Some(serde_json::from_slice(&body)?))
}

/// The bytes of a message.
///
/// # Errors
///
/// Nothing is written of a message that is too long.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= FRAME_BYTES_MAX)
        .ok_or(FrameError::TooLong(body.len()))?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(body);
    Ok(frame)
}

pub async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> Result<(), FrameError> {
    to.write_all(&encode(message)?).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_arrive_as_they_were() {
        let (mut a, mut b) = tokio::io::duplex(64);
        let text = "ü".repeat(10_000);
        let sent = text.clone();
        tokio::spawn(async move {
            write(&mut a, &sent).await.unwrap();
            write(&mut a, &7).await.unwrap();
        });
        assert_eq!(read::<String>(&mut b).await.unwrap(), Some(text));
        assert_eq!(read::<u8>(&mut b).await.unwrap(), Some(7));
        assert_eq!(read::<u8>(&mut b).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_frame_that_ends_early_is_an_error() {
        for part in [&[0_u8, 0][..], &[0, 0, 0, 9, b'1']] {
            let outcome = read::<u8>(&mut &part[..]).await;
            assert!(matches!(outcome, Err(FrameError::Io(_))), "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn too_long_is_known_from_the_length_alone() {
        let outcome = read::<u8>(&mut &[0xff_u8, 0, 0, 0][..]).await;
        assert!(
            matches!(outcome, Err(FrameError::TooLong(_))),
            "{outcome:?}"
        );
        let outcome = encode(&"x".repeat(FRAME_BYTES_MAX));
        assert!(
            matches!(outcome, Err(FrameError::TooLong(_))),
            "{outcome:?}"
        );
    }
}
