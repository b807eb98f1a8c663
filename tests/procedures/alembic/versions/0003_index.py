"""an index of orders by customer, built concurrently"""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade():
    with op.get_context().autocommit_block():
        op.execute("create index concurrently orders_customer on orders (customer)")
