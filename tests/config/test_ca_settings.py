"""The names of the certificate authority's settings."""

from agent.config.ca import ca_settings


def test_settings_get_the_names_of_the_api() -> None:
    given = {"leaf_cert_ttl": "36h", "csr_max_per_second": 100, "root_pki_path": "x", "PrivateKeyType": "ec", "odd": 1}
    assert ca_settings(given) == {
        "LeafCertTTL": "36h",
        "CSRMaxPerSecond": 100,
        "RootPKIPath": "x",
        "PrivateKeyType": "ec",
        "odd": 1,
    }
