//! What agent and runner read from each other: frames of JSON.

use std::fmt::Debug;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde::Serialize;
use serde::de::DeserializeOwned;
use vipward::agent::jobs::JobId;
use vipward::runner::frame::{self, FRAME_BYTES_MAX, FrameError};
use vipward::runner::message::{Answer, Request, result};

/// The same bytes as either side would read them, to the first error.
pub fn runner_message(data: &[u8]) {
    for request in messages::<Request>(data) {
        assert_eq!(returned(&request), request);
    }
    for answer in messages::<Answer>(data) {
        assert_eq!(returned(&answer), answer);
        if let Answer::Done {
            id,
            verdict,
            duration_us,
            output,
        } = answer.clone()
        {
            let (job, result) = result(id, verdict, duration_us, output);
            assert_eq!(job, JobId(id));
            assert_eq!(Answer::done(id, result), answer);
        }
    }
}

fn messages<T: DeserializeOwned>(mut data: &[u8]) -> Vec<T> {
    let mut messages = Vec::new();
    loop {
        let length = data.first_chunk().map(|length| u32::from_be_bytes(*length));
        let too_long = length.and_then(|length| usize::try_from(length).ok());
        let too_long = too_long.filter(|length| *length > FRAME_BYTES_MAX);
        match now(frame::read(&mut data)) {
            Ok(Some(message)) => messages.push(message),
            Err(FrameError::TooLong(length)) => {
                assert_eq!(Some(length), too_long);
                return messages;
            }
            Ok(None) | Err(FrameError::Garbage(_) | FrameError::Io(_)) => {
                assert_eq!(too_long, None, "read although it is too long");
                return messages;
            }
        }
    }
}

/// Written and read once more.
fn returned<T: Serialize + DeserializeOwned + Debug>(message: &T) -> T {
    let bytes = frame::encode(message).expect("it came in such a frame");
    let mut rest = bytes.as_slice();
    let message = now(frame::read(&mut rest)).expect("it is understood");
    assert!(rest.is_empty());
    message.expect("there is one")
}

/// Bytes in memory are always there.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits for more than there is"),
    }
}
