//! The cluster of the pair: its number and name as the file has them, and which of the two chassis this one is.

use crate::api::model::Cluster;
use crate::config::Redundancy;

/// The cluster of a configuration. There is one redundancy group at most.
pub(in crate::daemon) fn cluster(redundancy: &Redundancy) -> Cluster {
    let unit = redundancy
        .groups
        .first()
        .map(|group| if group.is_gateway_1() { 1 } else { 2 });
    Cluster {
        id: redundancy.cluster_id,
        name: redundancy.cluster_name.clone(),
        unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_chassis_with_the_lower_redundancy_address_is_unit_1() {
        let of = |keys: &str, ends: Option<[&str; 2]>| {
            let group = ends.map_or(String::new(), |[local, peer]| {
                format!(
                    "[redundancy-groups.1]\nredundancy-local = \"{local}\"\nredundancy-peer = \"{peer}\"\nsecurity = \"none\"\n"
                )
            });
            let text = format!("[interfaces.a]\ndevice = \"net_ring0\"\n[redundancy]\n{keys}\n{group}");
            let config = config::parse(&text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"));
            let cluster = cluster(&config.redundancy);
            (cluster.id, cluster.name, cluster.unit)
        };
        let (low, high) = ("5.5.5.9", "5.5.5.10");
        let keys = "cluster-id = 7\ncluster-name = \"north\"";
        assert_eq!(
            of(keys, Some([low, high])),
            (Some(7), Some("north".into()), Some(1))
        );
        assert_eq!(of("", Some([high, low])), (None, None, Some(2)));
        assert_eq!(of("cluster-id = 1", None), (Some(1), None, None));
    }
}
