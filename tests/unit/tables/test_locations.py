import pytest

from mlops_project.tables.locations import hide_credentials


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://ana:hunter2@host/db", "postgresql://host/db"),
        ("postgresql://ana:hun@ter2@host/db", "postgresql://host/db"),
        ("postgresql://ana:hun/ter2@host/db", "postgresql://host/db"),
        ("postgresql://host/db?user=ana&password=hunter2", "postgresql://host/db?user=ana&password=***"),
        ("postgresql://host/db?sslPassword=hunter2&sslmode=require", "postgresql://host/db?sslPassword=***&sslmode=require"),
        ("s3://key:hunter2@bucket/t.csv", "s3://bucket/t.csv"),
        ("https://host/t.csv?sig=hunter2", "https://host/t.csv"),
        ("HTTPS://ana:hunter2@host/t.csv#hunter2", "HTTPS://host/t.csv"),
    ],
)
def test_address_with_a_secret_is_shown_without(address, shown):
    assert hide_credentials(address) == shown


@pytest.mark.parametrize(
    "address",
    ["s3://bucket/2026/x?.csv", "s3://bucket/a:b@c.csv", "https://host:8080/v@1/t.csv", "sqlite:///shop.db", "/data/a@b?.csv"],
)
def test_address_without_a_secret_stays_as_it_is(address):
    assert hide_credentials(address) == address
