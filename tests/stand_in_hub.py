"""A hub on loopback that the hub's own client talks to: repositories in memory, files as they are.

It speaks what reading and pushing need: a repository's files, one file, a new repository, and a
commit whose files come inside the request.
"""

import base64
import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class StandInHub:
    """`repositories`: name -> {file: bytes}; `asked`: (method, path) of every request so far."""

    def __init__(self):
        self.repositories, self.asked, self.summaries, self.tokens = {}, [], [], set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *_):
                pass

            def answer(self):
                length = int(self.headers.get('Content-Length') or 0)
                body = self.chunks() if 'Transfer-Encoding' in self.headers else None
                body = self.rfile.read(length) if body is None else body
                path = unquote(urlsplit(self.path).path)
                hub.asked.append((self.command, path))
                hub.tokens.add(self.headers.get('Authorization'))
                status, headers, content = hub.answer(self.command, path, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header('Content-Length', str(len(content)))
                self.end_headers()
                if self.command != 'HEAD':
                    self.wfile.write(content)

            def chunks(self):
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b''.join(parts)

            do_GET = do_HEAD = do_POST = answer

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f'http://127.0.0.1:{self.server.server_port}'
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def add_folder(self, name, folder):
        self.repositories[name] = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob('*')
            if path.is_file()
        }

    def files_asked(self):
        """Of the files that were downloaded: 'owner/name/file', in order."""
        return [
            path.replace('/resolve/', '\0').partition('\0')[0][1:] + '/' + path.split('/', 5)[-1]
            for method, path in self.asked
            if method == 'GET' and '/resolve/' in path
        ]

    # ---- the protocol ---------------------------------------------------------------------------

    def answer(self, method, path, body):
        parts = path.strip('/').split('/')
        if method == 'POST':
            return self.posted(parts, body)
        if parts[:2] == ['api', 'models']:
            name, rest = '/'.join(parts[2:4]), parts[4:5]
            if name not in self.repositories:
                return 404, {'X-Error-Code': 'RepoNotFound'}, b'{}'
            return self.listed(name) if rest == ['tree'] else self.described(name)
        name, file = '/'.join(parts[:2]), '/'.join(parts[4:])
        content = self.repositories.get(name, {}).get(file)
        if content is None:
            return 404, {'X-Error-Code': 'EntryNotFound'}, b''
        tag = hashlib.sha256(content).hexdigest()
        return 200, {'ETag': f'"{tag}"', 'X-Repo-Commit': self.commit_of(name)}, content

    def commit_of(self, name):
        digest = hashlib.sha1(name.encode())
        for file, content in sorted(self.repositories[name].items()):
            digest.update(file.encode() + content)
        return digest.hexdigest()

    def described(self, name):
        files = [dict(rfilename=file) for file in self.repositories[name]]
        return as_json(dict(id=name, sha=self.commit_of(name), siblings=files, private=False))

    def listed(self, name):
        return as_json(
            [
                dict(type='file', path=file, size=len(content), oid=blob_of(content))
                for file, content in self.repositories[name].items()
            ]
        )

    def posted(self, parts, body):
        if parts == ['api', 'validate-yaml']:
            return as_json(dict(errors=[], warnings=[]))
        if parts == ['api', 'repos', 'create']:
            asked = json.loads(body)
            name = f'{asked["organization"]}/{asked["name"]}'
            if asked['organization'] == 'somebody':
                return as_json(dict(error='You do not have the rights'), status=403)
            self.repositories.setdefault(name, {'.gitattributes': b''})
            return as_json(dict(url=f'{self.endpoint}/{name}', name=name, id=name))
        name = '/'.join(parts[2:4])
        if parts[4] == 'preupload':
            return as_json(
                dict(
                    files=[
                        dict(path=file['path'], uploadMode='regular', shouldIgnore=False)
                        for file in json.loads(body)['files']
                    ]
                )
            )
        assert parts[4:] == ['commit', 'main']
        self.commit(self.repositories[name], [json.loads(line) for line in body.splitlines()])
        done = self.commit_of(name)
        url = f'{self.endpoint}/{name}/commit/{done}'
        return as_json(dict(success=True, commitUrl=url, commitOid=done))

    def commit(self, files, lines):
        for line in lines:
            value = line['value']
            if line['key'] == 'header':
                self.summaries.append(value['summary'])
            elif line['key'] == 'file':
                files[value['path']] = base64.b64decode(value['content'])
            else:
                assert line['key'] == 'deletedFile'
                del files[value['path']]


def blob_of(content):
    """git's name for a file's bytes."""
    return hashlib.sha1(b'blob %d\0' % len(content) + content).hexdigest()


def as_json(value, *, status=200):
    return status, {'Content-Type': 'application/json'}, json.dumps(value).encode()


@contextlib.contextmanager
def serving(monkeypatch, cache):
    """A `StandInHub`; the client asks it alone, with the empty cache `cache`."""
    hub = StandInHub()
    constants = 'huggingface_hub.constants.'
    monkeypatch.setattr(constants + 'HF_HUB_CACHE', str(cache))
    monkeypatch.setattr(constants + 'HF_HUB_OFFLINE', False)
    monkeypatch.setattr(constants + 'HF_HUB_DISABLE_XET', True)
    monkeypatch.setattr(constants + 'ENDPOINT', hub.endpoint)
    monkeypatch.setattr(
        constants + 'HUGGINGFACE_CO_URL_TEMPLATE',
        hub.endpoint + '/{repo_id}/resolve/{revision}/{filename}',
    )
    try:
        yield hub
    finally:
        hub.close()
