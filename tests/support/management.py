"""The little of RabbitMQ's management API that tests need; quicker than a rabbitmqctl each."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from urllib.parse import quote


class ManagementError(Exception):
    """The management API refused."""


class Management:
    """One broker's management API, as its administrator."""

    def __init__(self, port: int, *, user: str, password: str) -> None:
        self._port = port
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def ask(self, method: str, *path: str, body: object = None) -> object:
        """One request; the answer's JSON or None.

        Raises:
            ManagementError: any status but 2xx.
            OSError: nobody answers.
        """
        url = "/api/" + "/".join(quote(part, safe="") for part in path)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(
                method, url, None if body is None else json.dumps(body), self._headers
            )
            answer = connection.getresponse()
            text = answer.read().decode()
        except http.client.HTTPException as exc:
            raise ConnectionError(f"{method} {url}: {exc!r}") from exc
        finally:
            connection.close()
        if answer.status // 100 != 2:
            raise ManagementError(f"{method} {url}: {answer.status} {text}")
        return json.loads(text) if text else None

    def is_up(self) -> bool:
        try:
            self.ask("GET", "overview")
        except (OSError, ManagementError):
            return False
        return True

    def add_vhost(self, vhost: str, *, owner: str) -> None:
        self.ask("PUT", "vhosts", vhost)
        self.permit(owner, vhost, configure=".*", write=".*", read=".*")

    def permit(self, user: str, vhost: str, *, configure: str, write: str, read: str) -> None:
        patterns = {"configure": configure, "write": write, "read": read}
        self.ask("PUT", "permissions", vhost, user, body=patterns)

    def add_user(self, name: str, password: str, *, tags: str = "") -> None:
        self.ask("PUT", "users", name, body={"password": password, "tags": tags})

    def load_definitions(self, vhost: str, definitions: Mapping[str, object]) -> None:
        """Create what a definitions document of one vhost lists."""
        self.ask("POST", "definitions", vhost, body=definitions)

    def purge(self, vhost: str, queue: str) -> None:
        self.ask("DELETE", "queues", vhost, queue, "contents")

    def queues(self, vhost: str) -> list[dict[str, object]]:
        answer = self.ask("GET", "queues", vhost)
        assert isinstance(answer, list)
        return answer
