//! The socket file: whose it is, who may use it, when it goes.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant as Clock};

use nix::unistd::{Gid, Group, Uid};
use tokio::sync::mpsc;
use vipward::control::client::{ClientError, fetch_status};
use vipward::control::listener::{Access, ListenError};
use vipward::control::server::{ControlServer, Request, Setup, StartError};
use vipward::control::socket_path;

use super::{Agent, PATIENCE, ROOM, code, picture, setup, stderr, vipward};

fn start_in(directory: &Path) -> Result<ControlServer, StartError> {
    let (sender, _) = mpsc::channel(1);
    ControlServer::start(directory, setup(sender))
}

#[test]
fn a_stale_socket_is_replaced_and_removed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket_path(directory.path());
    drop(UnixListener::bind(&path).unwrap());
    // A child that another test starts now listens, too, until it becomes its
    // program.
    let deadline = Clock::now() + PATIENCE;
    while UnixStream::connect(&path).is_ok() {
        assert!(Clock::now() < deadline, "somebody still listens");
        std::thread::sleep(Duration::from_millis(5));
    }
    let refused = fetch_status(&path, PATIENCE).unwrap_err();
    assert!(matches!(refused, ClientError::Dead(_)), "{refused}");

    let server = start_in(directory.path()).unwrap();
    UnixStream::connect(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    drop(server);
    assert!(!path.exists());
}

#[test]
fn a_living_socket_is_left_alone() {
    let agent = Agent::start(Vec::new());
    let refused = start_in(agent.directory.path()).unwrap_err();
    assert!(
        matches!(refused, StartError::Listen(ListenError::Taken(_))),
        "{refused}"
    );
    fetch_status(&agent.socket(), PATIENCE).unwrap();
}

#[test]
fn a_wedged_agents_socket_is_left_alone_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket_path(directory.path());
    // It never accepts, and its backlog fills up.
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&socket2::SockAddr::unix(&path).unwrap())
        .unwrap();
    socket.listen(0).unwrap();
    let mut waiting = Vec::new();
    let refused = loop {
        let client = socket2::Socket::new(
            socket2::Domain::UNIX,
            socket2::Type::STREAM.nonblocking(),
            None,
        )
        .unwrap();
        match client.connect(&socket2::SockAddr::unix(&path).unwrap()) {
            Ok(()) => waiting.push(client),
            Err(error) => break error,
        }
        assert!(waiting.len() < 100, "the backlog never fills");
    };
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    let refused = start_in(directory.path()).unwrap_err();
    assert!(
        matches!(refused, StartError::Listen(ListenError::Taken(_))),
        "{refused}"
    );
    // And the command says so within its second.
    let started = Clock::now();
    assert_eq!(code(&vipward(directory.path(), &[])), 3);
    assert!(started.elapsed() < Duration::from_secs(1) + ROOM);
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket_path(directory.path());
    std::fs::write(&path, "precious").unwrap();
    let refused = start_in(directory.path()).unwrap_err();
    assert!(refused.to_string().contains("no socket"), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn another_ones_socket_is_not_removed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket_path(directory.path());
    let server = start_in(directory.path()).unwrap();
    std::fs::remove_file(&path).unwrap();
    // An inode number can be used again at once: hold the old one's place.
    let _other = UnixListener::bind(directory.path().join("place")).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    drop(server);
    assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
}

#[test]
fn an_unknown_group_leaves_the_socket_to_root() {
    let directory = tempfile::tempdir().unwrap();
    let access = Access {
        read_group: Some("no-such-group-anywhere".to_owned()),
        admin_group: Some("root".to_owned()),
    };
    let (sender, _) = mpsc::channel(1);
    let server = ControlServer::start(
        directory.path(),
        Setup {
            access,
            ..setup(sender)
        },
    )
    .unwrap();
    let mode = std::fs::metadata(server.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
}

/// A group that this process may give a file to, and that is not root's.
fn some_group() -> Group {
    let own = Group::from_gid(Gid::current()).unwrap().unwrap();
    match own.gid.as_raw() {
        0 => Group::from_name("daemon").unwrap().unwrap(),
        _ => own,
    }
}

/// `vipward status` by somebody else than the agent's user: as root by
/// becoming nobody, otherwise by taking the owner's own rights away.
fn vipward_by_a_stranger(directory: &Path, group: Option<Gid>) -> Output {
    if !Uid::effective().is_root() {
        let socket = socket_path(directory);
        let before = std::fs::metadata(&socket).unwrap().permissions();
        if group.is_none() {
            let without_owner = std::fs::Permissions::from_mode(before.mode() & 0o077);
            std::fs::set_permissions(&socket, without_owner).unwrap();
        }
        let output = vipward(directory, &[]);
        std::fs::set_permissions(&socket, before).unwrap();
        return output;
    }
    // Where everybody can enter; the build directory may be closed.
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory, everybody).unwrap();
    let binary = directory.join("vipward");
    if !binary.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_vipward"), &binary).unwrap();
    }
    let nobody = 65534;
    std::process::Command::new(&binary)
        .args(["status", "--runtime-dir"])
        .arg(directory)
        .current_dir(directory)
        .uid(nobody)
        .gid(group.map_or(nobody, Gid::as_raw))
        .output()
        .unwrap()
}

#[test]
fn the_group_may_read_and_others_are_told_who_may() {
    let directory = tempfile::tempdir().unwrap();
    let group = some_group();
    let (sender, mut requests) = mpsc::channel(1);
    let access = Access {
        read_group: Some(group.name.clone()),
        admin_group: None,
    };
    let server = ControlServer::start(
        directory.path(),
        Setup {
            access,
            ..setup(sender)
        },
    )
    .unwrap();
    let found = std::fs::metadata(server.path()).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o660);
    assert_eq!(found.gid(), group.gid.as_raw());

    let output = vipward_by_a_stranger(directory.path(), None);
    assert_eq!(code(&output), 3, "{output:?}");
    let permitted = format!("and the group {} may", group.name);
    assert!(stderr(&output).contains(&permitted), "{output:?}");

    let asking = std::thread::spawn({
        let directory = directory.path().to_owned();
        move || vipward_by_a_stranger(&directory, Some(group.gid))
    });
    let Some(Request::Status(reply)) = requests.blocking_recv() else {
        panic!("the server ended");
    };
    reply.send(picture(Vec::new())).unwrap();
    assert_eq!(code(&asking.join().unwrap()), 0);
}

#[test]
fn without_a_group_others_are_told_that_root_may() {
    let agent = Agent::start(Vec::new());
    let output = vipward_by_a_stranger(agent.directory.path(), None);
    assert_eq!(code(&output), 3, "{output:?}");
    assert!(stderr(&output).contains("only root"), "{output:?}");
}
