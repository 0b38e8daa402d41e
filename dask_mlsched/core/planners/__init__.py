"""Policies that plan: each keeps plans of its own and proposes the next task for a free slot."""
