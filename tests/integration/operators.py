"""An operator at the admin of a running installation: logs in, fills in the forms that the pages hold, looks around.

Works on HTML alone, as a browser without scripts, so that what a page shows and what a form takes are the real ones.
"""

import re
from urllib.parse import urljoin, urlsplit

import httpx
from lxml import html

_LEAVING = ("/logout/", "/delete/")
_LINK = re.compile(r'href="([^"#?]*)')


class Operator:
    """A browser's session.

    Attributes:
        seen: every page so far, by its address; a page that was seen twice under two keys.
    """

    def __init__(self, public_url: str) -> None:
        self.http = httpx.AsyncClient(base_url=public_url, follow_redirects=True, trust_env=False, timeout=30)
        self.seen: dict[str, str] = {}

    async def look(self, path: str) -> str:
        """A page's HTML."""
        return self._keep(await self.http.get(path))

    async def submit(self, path: str, *, press: str = "Save", **changes: str) -> str:
        """Fills in the page's form, presses the button of that name and gives the page that follows.

        Args:
            changes: values of fields; all others stay as the page has them.
        """
        page = html.fromstring(await self.look(path))
        button = next((each for each in page.iter("button") if press in _texts(each)), None)
        assert button is not None, f"{path} has no button {press!r}"
        # A button may stand outside its form and name it.
        form = page.get_element_by_id(button.get("form")) if button.get("form") else next(button.iterancestors("form"))
        fields = dict(form.form_values()) | changes | ({button.get("name"): "1"} if button.get("name") else {})
        address = urljoin(str(self.http.base_url.join(path)), form.get("action") or "")
        return self._keep(await self.http.post(address, data=fields, headers={"Referer": address}))

    async def log_in(self, username: str, password: str) -> str:
        """The page after the attempt."""
        return await self.submit("/admin/login/", press="Log in", username=username, password=password)

    async def look_at_everything(self) -> set[str]:
        """Follows every link under /admin/ that leads to no deletion; the paths that were seen."""
        waiting, visited = ["/admin/"], set()
        while waiting:
            path = waiting.pop()
            if path in visited:
                continue
            visited.add(path)
            page = await self.look(path)
            links = {urlsplit(urljoin(path, link)).path for link in _LINK.findall(page)}
            waiting += [link for link in links if link.startswith("/admin/") and not link.endswith(_LEAVING)]
        return visited

    async def leave(self) -> None:
        """Closes the browser."""
        await self.http.aclose()

    def _keep(self, response: httpx.Response) -> str:
        self.seen[f"{len(self.seen)} {response.request.method} {response.url.path}"] = response.text
        assert response.status_code < 500, f"{response.url.path}: {response.status_code}"
        return response.text


def _texts(button: html.HtmlElement) -> list[str]:
    return [text.strip() for text in button.itertext()]
