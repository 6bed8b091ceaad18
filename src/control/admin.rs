//! Who may give orders: judged by what the kernel says of the caller.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::unistd::{Group, Uid, User};
use tokio::net::UnixStream;

/// Reads the supplementary groups of a unix socket's other end.
pub type PeerGroups = fn(BorrowedFd<'_>) -> io::Result<Vec<u32>>;

/// Who sits at the other end, as of its connecting.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    uid: u32,
    /// The effective group and the supplementary ones.
    groups: BTreeSet<u32>,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid {
            0 => f.write_str("root"),
            uid => write!(f, "uid {uid}"),
        }
    }
}

impl Caller {
    pub fn of(stream: &UnixStream, groups: PeerGroups) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        // Without them (a kernel before 4.13) a caller has fewer rights.
        let groups = groups(stream.as_fd()).unwrap_or_default();
        let mut groups: BTreeSet<u32> = groups.into_iter().collect();
        groups.insert(credentials.gid());
        Ok(Self {
            uid: credentials.uid(),
            groups,
        })
    }

    /// Root, the agent's own user (who could end it anyway), and members of
    /// the group. Looks the group up, which may take a while.
    ///
    /// # Errors
    ///
    /// A sentence that says who may.
    pub fn may_command(&self, admin_group: Option<&str>) -> Result<(), String> {
        if self.uid == 0 || self.uid == Uid::effective().as_raw() {
            return Ok(());
        }
        let user = User::from_uid(Uid::from_raw(self.uid)).ok().flatten();
        let who = user.map_or_else(|| self.to_string(), |user| user.name);
        let hint = "name a group in the configuration's control.admin_group to let others do it";
        let Some(name) = admin_group else {
            return Err(format!("{who} may not: only root may; {hint}"));
        };
        match Group::from_name(name) {
            Ok(Some(group)) if self.groups.contains(&group.gid.as_raw()) => Ok(()),
            Ok(Some(_)) => Err(format!(
                "{who} may not: only root and members of the group {name} may (control.admin_group)"
            )),
            Ok(None) => Err(format!(
                "{who} may not: only root and members of the group {name} may \
                 (control.admin_group), and there is no such group"
            )),
            Err(errno) => Err(format!(
                "{who} may not: only root and members of the group {name} may \
                 (control.admin_group), and that group cannot be looked up: {errno}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uid: u32, groups: &[u32]) -> Caller {
        Caller {
            uid,
            groups: groups.iter().copied().collect(),
        }
    }

    /// Neither root nor whoever runs the tests.
    const STRANGER: u32 = 4_000_000_001;

    #[test]
    fn root_the_own_user_and_members_may() {
        let own = Uid::effective().as_raw();
        for may in [caller(0, &[]), caller(own, &[]), caller(STRANGER, &[7, 0])] {
            assert_eq!(may.may_command(Some("root")), Ok(()), "{may:?}");
        }
        for admin_group in [None, Some("no-such-group-anywhere"), Some("root")] {
            let refused = caller(STRANGER, &[7]).may_command(admin_group);
            let sentence = refused.unwrap_err();
            assert!(sentence.contains("uid 4000000001 may not"), "{sentence}");
            assert!(sentence.contains(admin_group.unwrap_or("only root may")));
        }
        assert!(caller(STRANGER, &[0]).may_command(None).is_err());
    }
}
