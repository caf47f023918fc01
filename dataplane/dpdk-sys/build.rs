//! Finds libdpdk with pkg-config, generates declarations for an allowlist of it, compiles wrappers for the
//! `static inline` functions on that list, and links the shared libraries.
//!
//! The allowlist is the contract: something that is not named here cannot be called from Rust.

use std::env;
use std::path::{Path, PathBuf};
use std::process::exit;

const FUNCTIONS: &[&str] = &[
    // this crate's own wrappers (wrapper.h)
    "dpdk_sys_errno",
    "dpdk_sys_mempool_flush",
    "dpdk_sys_pktmbuf_pool_create",
    "dpdk_sys_link_get",
    // environment, threads, time
    "rte_version",
    "rte_strerror",
    "rte_eal_init",
    "rte_eal_cleanup",
    "rte_lcore_id",
    "rte_thread_register",
    "rte_thread_unregister",
    "rte_get_tsc_cycles",
    "rte_get_tsc_hz",
    "rte_prefetch0",
    "rte_malloc_get_socket_stats",
    // mempools and mbufs
    "rte_mempool_avail_count",
    "rte_mempool_in_use_count",
    "rte_pktmbuf_alloc",
    "rte_pktmbuf_alloc_bulk",
    "rte_pktmbuf_free",
    "rte_pktmbuf_free_bulk",
    "rte_pktmbuf_reset",
    "rte_pktmbuf_linearize",
    "rte_pktmbuf_copy",
    "rte_mbuf_dynflag_register_bitnum",
    // rings
    "rte_ring_create",
    "rte_ring_free",
    "rte_ring_count",
    "rte_ring_free_count",
    "rte_ring_get_capacity",
    "rte_ring_enqueue_burst",
    "rte_ring_dequeue_burst",
    // devices and ports
    "rte_dev_probe",
    "rte_dev_remove",
    "rte_dev_name",
    "rte_eth_find_next",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_get_name_by_port",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_info_get",
    "rte_eth_dev_configure",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_rx_queue_setup",
    "rte_eth_tx_queue_setup",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_dev_close",
    "rte_eth_promiscuous_enable",
    "rte_eth_promiscuous_disable",
    "rte_eth_promiscuous_get",
    "rte_eth_allmulticast_enable",
    "rte_eth_allmulticast_disable",
    "rte_eth_allmulticast_get",
    "rte_eth_macaddr_get",
    "rte_eth_dev_default_mac_addr_set",
    "rte_eth_dev_get_mtu",
    "rte_eth_dev_set_mtu",
    "rte_eth_stats_get",
    "rte_eth_stats_reset",
    "rte_eth_xstats_get",
    "rte_eth_xstats_get_names",
    "rte_eth_rx_burst",
    "rte_eth_tx_burst",
    "rte_eth_tx_prepare",
    // forwarding tables
    "rte_fib_create",
    "rte_fib_free",
    "rte_fib_add",
    "rte_fib_delete",
    "rte_fib_lookup_bulk",
    "rte_fib6_create",
    "rte_fib6_free",
    "rte_fib6_add",
    "rte_fib6_delete",
    "rte_fib6_lookup_bulk",
    // packet classification
    "rte_acl_create",
    "rte_acl_add_rules",
    "rte_acl_build",
    "rte_acl_classify",
    "rte_acl_free",
];

const TYPES: &[&str] = &[
    "dpdk_sys_mbuf",
    "rte_eth_conf",
    "rte_eth_dev_info",
    "dpdk_sys_link",
    "rte_eth_stats",
    "rte_eth_xstat",
    "rte_eth_xstat_name",
    "rte_eth_rx_mq_mode",
    "rte_ether_addr",
    "rte_malloc_socket_stats",
    "rte_fib_conf",
    "rte_fib6_conf",
    "rte_acl_param",
    "rte_acl_config",
    "rte_acl_rule",
    "rte_acl_rule_data",
    "rte_acl_field",
    "rte_acl_field_def",
];

const VARS: &[&str] = &[
    "SYS_.*",
    "RTE_MEMPOOL_CACHE_MAX_SIZE",
    "RTE_ETH_NAME_MAX_LEN",
    "RTE_ACL_FIELD_TYPE_.*",
    "RTE_ACL_MAX_PRIORITY",
    "RTE_ACL_MIN_PRIORITY",
];

/// Reached only through pointers, so their layout is nobody's business here: declared as opaque, not
/// generated.
const OPAQUE: &[&str] = &[
    "rte_mbuf",
    "rte_mempool",
    "rte_ring",
    "rte_fib",
    "rte_fib6",
    "rte_acl_ctx",
    "rte_device",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=wrapper.h");

    let dpdk = pkg_config::Config::new()
        .atleast_version("22.11")
        .cargo_metadata(false)
        .env_metadata(true)
        .probe("libdpdk")
        .unwrap_or_else(|error| {
            fail(&format!(
                "libdpdk >= 22.11 not found: run `apt install libdpdk-dev libclang-dev`\n{error}"
            ))
        });
    let flags = compiler_flags();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let wrappers = out.join("static_inlines");

    generate(&flags, &out, &wrappers);
    compile_wrappers(&flags, &wrappers.with_extension("c"));
    link(&dpdk);
}

/// The exact flags DPDK asks for. The pkg-config crate keeps include paths and defines only; `-march` and
/// `-include rte_config.h` matter as much, since headers choose code and layout by them.
fn compiler_flags() -> Vec<String> {
    let pkg_config = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let output = std::process::Command::new(pkg_config)
        .args(["--cflags", "libdpdk"])
        .output()
        .unwrap_or_else(|error| fail(&format!("cannot run pkg-config: {error}")));
    if !output.status.success() {
        fail("pkg-config --cflags libdpdk failed: run `apt install libdpdk-dev libclang-dev`");
    }
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn generate(flags: &[String], out: &Path, wrappers: &Path) {
    let mut builder = bindgen::Builder::default()
        .header("wrapper.h")
        .clang_args(flags)
        .use_core()
        .generate_comments(false)
        .layout_tests(false)
        .derive_debug(false)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .wrap_static_fns(true)
        .wrap_static_fns_path(wrappers)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()));
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in VARS {
        builder = builder.allowlist_var(name);
    }
    for name in OPAQUE {
        builder = builder
            .blocklist_type(name)
            .raw_line(format!("#[repr(C)] pub struct {name} {{ _opaque: [u8; 0] }}"));
    }
    let bindings = builder.generate().unwrap_or_else(|error| {
        fail(&format!(
            "bindgen failed on libdpdk's headers (is libclang-dev installed?): {error}"
        ))
    });
    bindings
        .write_to_file(out.join("bindings.rs"))
        .expect("OUT_DIR is writable");
}

fn compile_wrappers(flags: &[String], source: &Path) {
    let mut build = cc::Build::new();
    build
        .file(source)
        .include(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    // Unoptimised inline functions would make each burst call needlessly slow in test builds too.
    build.opt_level(2).warnings(false);
    // A header forgotten in wrapper.h would make a pointer an int.
    build.flag("-Werror=implicit-function-declaration");
    for flag in flags {
        build.flag(flag);
    }
    build.compile("dpdk_sys_static_inlines");
}

/// Only the libraries the allowlist needs; drivers are loaded by EAL from the system's PMD folder.
fn link(dpdk: &pkg_config::Library) {
    for path in &dpdk.link_paths {
        println!("cargo:rustc-link-search=native={}", path.display());
    }
    for library in [
        "rte_eal",
        "rte_mempool",
        "rte_mbuf",
        "rte_ring",
        "rte_ethdev",
        "rte_fib",
        "rte_acl",
    ] {
        if !dpdk.libs.iter().any(|found| found == library) {
            fail(&format!("libdpdk is installed without lib{library}"));
        }
        println!("cargo:rustc-link-lib=dylib={library}");
    }
}

fn fail(message: &str) -> ! {
    for line in message.lines().filter(|line| !line.is_empty()) {
        println!("cargo:warning={line}");
    }
    eprintln!("{message}");
    exit(1);
}
