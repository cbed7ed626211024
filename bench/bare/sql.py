"""SQLAlchemy: an engine with as many pooled connections as there are threads."""

from sqlalchemy import create_engine, text

from bench.bare import Begin, told


def begins(threads: str, url: str, query: str) -> Begin:
    # Without transactions, as fingerd does it: each would cost PostgreSQL two more round trips.
    engine = create_engine(url, pool_size=int(threads), max_overflow=0, isolation_level="AUTOCOMMIT")
    statement = text(query)

    def look_up(user: str) -> str:
        with engine.connect() as connection:
            row = connection.execute(statement, {"user": user}).one()
        return told(row.login, row.name, row.plan)

    return lambda: look_up
