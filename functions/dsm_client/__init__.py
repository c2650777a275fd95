"""The six DSM services as typed clients, over HTTP only: `await dsm(ctx).sprints.active(id)`."""

from functions.dsm_client.clients import Services as Services
from functions.dsm_client.clients import dsm as dsm
