//! Two nodes and any number of misfortunes in any order.

use proptest::prelude::*;

use vipward::daemon::link::sessions::{Opened, Parcel};
use vipward::wire::link::HEAD_BYTES;

use crate::node::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Tells {
        a: bool,
        lost: u8,
    },
    Restarts {
        a: bool,
    },
    /// Something that was sent before comes, for the first time or again.
    Comes {
        a: bool,
        at: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tells = (any::<bool>(), any::<u8>()).prop_map(|(a, lost)| Step::Tells { a, lost });
    let restarts = any::<bool>().prop_map(|a| Step::Restarts { a });
    let comes = (any::<bool>(), any::<usize>()).prop_map(|(a, at)| Step::Comes { a, at });
    prop::collection::vec(prop_oneof![6 => tells, 1 => restarts, 4 => comes], 0..60)
}

proptest! {
    /// Whatever was lost, delayed, repeated or started anew: two rounds later
    /// both are told everything, no counter was used twice under a key, and
    /// nothing was heard twice.
    #[test]
    fn they_always_find_each_other_again(steps in steps()) {
        let mut nodes = [Node::new("a"), Node::new("b")];
        let names = ["a", "b"];
        let mut sent: [Vec<Parcel>; 2] = Default::default();
        let mut heard = std::collections::BTreeSet::new();
        let mut heads = std::collections::BTreeSet::new();
        let calm = (0..8).map(|turn| Step::Tells { a: turn % 2 == 0, lost: 0 });
        let total = steps.len() + 8;
        for (number, step) in steps.into_iter().chain(calm).enumerate() {
            let number = u64::try_from(number).unwrap();
            let (from, coming) = match step {
                Step::Restarts { a } => {
                    nodes[usize::from(a)].restart();
                    continue;
                }
                Step::Comes { a, at } => {
                    let from = usize::from(a);
                    let Some(at) = at.checked_rem(sent[from].len()) else { continue };
                    (from, vec![sent[from][at].clone()])
                }
                Step::Tells { a, lost } => {
                    let from = usize::from(a);
                    let parcels = nodes[from].tell(names[1 - from], &message(number));
                    for parcel in &parcels {
                        let counter = parcel.datagram[HEAD_BYTES - 8..HEAD_BYTES].to_vec();
                        let head = (from, nodes[from].lives, counter);
                        prop_assert!(heads.insert(head), "a counter was used twice");
                    }
                    sent[from].extend(parcels.clone());
                    let come = (0..8).zip(parcels).filter(|(at, _)| lost >> at & 1 == 0);
                    (from, come.map(|(_, parcel)| parcel).collect())
                }
            };
            let to = &mut nodes[1 - from];
            for parcel in coming {
                let life = to.lives;
                let opened = to.open(names[from], &parcel);
                let Ok(Opened::Heard { message: told, .. }) = opened else { continue };
                prop_assert!(heard.insert((from, life, parcel.datagram)), "heard twice");
                let whole = *told == message(told.revision);
                prop_assert!(whole || *told == bare(told.revision));
                let last = u64::try_from(total - 2).unwrap();
                if number >= last {
                    prop_assert!(whole && told.revision == number, "{told:?} at {number}");
                }
            }
        }
        let last = u64::try_from(total - 1).unwrap();
        let told = nodes[1].tell("a", &message(last));
        prop_assert_eq!(nodes[0].take("b", &told), vec![message(last); 2]);
        let told = nodes[0].tell("b", &message(last));
        prop_assert_eq!(nodes[1].take("a", &told), vec![message(last); 2]);
    }
}
