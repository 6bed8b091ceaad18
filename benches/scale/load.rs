//! How many instances, and where: VRIDs are reused over interfaces.

use std::net::Ipv4Addr;

/// One virtual router of the load.
#[derive(Clone, Debug)]
pub struct Part {
    pub number: usize,
    pub interface: usize,
    pub vrid: u8,
    pub addresses: Vec<Ipv4Addr>,
    /// So many of them are listed in its advertisements.
    pub advertised: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub instances: usize,
    /// Of each instance.
    addresses: usize,
}

const PER_INTERFACE: usize = 255;

impl Load {
    /// `1000`: so many instances; `500a`: one with so many addresses.
    pub fn parse(text: &str) -> Option<Self> {
        let (instances, addresses) = match text.strip_suffix('a') {
            Some(addresses) => (1, addresses.parse().ok()?),
            None => (text.parse().ok()?, 1),
        };
        let within = (1..=PER_INTERFACE * 60).contains(&instances);
        (within && (1..=500).contains(&addresses)).then_some(Self {
            instances,
            addresses,
        })
    }

    pub fn name(&self) -> String {
        match self.addresses {
            1 => format!("{} instances", self.instances),
            more => format!("1 instance, {more} addresses"),
        }
    }

    pub fn interfaces(&self) -> usize {
        self.instances.div_ceil(PER_INTERFACE)
    }

    pub fn all_addresses(&self) -> usize {
        self.instances * self.addresses
    }

    pub fn parts(&self) -> Vec<Part> {
        (0..self.instances)
            .map(|number| self.part(number))
            .collect()
    }

    fn part(&self, number: usize) -> Part {
        let interface = number / PER_INTERFACE;
        let vrid = u8::try_from(number % PER_INTERFACE + 1).expect("at most 255");
        let network = u8::try_from(interface).expect("few interfaces");
        let addresses = (0..self.addresses).map(|count| {
            let [high, low] = u16::try_from(count).expect("at most 500").to_be_bytes();
            match self.addresses {
                1 => Ipv4Addr::new(10, network, 1, vrid),
                _ => Ipv4Addr::new(10, network, 1 + high, low),
            }
        });
        Part {
            number,
            interface,
            vrid,
            addresses: addresses.collect(),
            advertised: self.addresses.div_ceil(2),
        }
    }
}
