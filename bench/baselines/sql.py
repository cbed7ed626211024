"""SQLAlchemy: an engine with as many pooled connections as there are threads."""

from sqlalchemy import create_engine, text

from bench.baselines import Connect, format_record


def configure(threads: str, url: str, query: str) -> Connect:
    # Without transactions, as in fingerd: each would cost PostgreSQL two more round trips.
    url = url.replace("postgresql:", "postgresql+psycopg2:")  # as in fingerd; the default depends on the version
    engine = create_engine(url, pool_size=int(threads), max_overflow=0, isolation_level="AUTOCOMMIT")
    statement = text(query)

    def look_up(user: str) -> str:
        with engine.connect() as connection:
            row = connection.execute(statement, {"user": user}).one()
        return format_record(row.login, row.name, row.plan)

    return lambda: look_up
