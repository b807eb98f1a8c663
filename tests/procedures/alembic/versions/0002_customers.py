"""customers, and whose order it is"""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.execute("create table customers (id int primary key)")
    op.execute("alter table orders add column customer int references customers")
