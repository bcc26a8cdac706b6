"""Routes of the studio: its page at /studio and at the address of each view, static files, policy reports."""

from fastapi import APIRouter, Request, Response

from api.auth.api_keys import PUBLIC, PUBLIC_REPORT
from api.studio.page import page_response
from api.studio.policy_reports import PolicyReports
from api.studio.static_files import file_response

router = APIRouter(prefix="/studio", include_in_schema=False)


@router.post("/csp-report", status_code=204, dependencies=[PUBLIC_REPORT])
async def receive_policy_report(request: Request) -> Response:
    """Log and count a violation of the page's Content-Security-Policy, which a browser reports."""
    reports: PolicyReports = request.app.state.policy_reports
    reports.add(await request.body())
    return Response(status_code=204)


# public: the page holds no data; its requests to /v1 send the API key that the user enters
@router.get("/static/{digest}/{path:path}", dependencies=[PUBLIC])
async def read_static_file(request: Request, digest: str, path: str) -> Response:
    """Return a static file of the studio."""
    return file_response(request, path, digest)


@router.get("", dependencies=[PUBLIC])
@router.get("/{view:path}", dependencies=[PUBLIC])
async def read_page(request: Request) -> Response:
    """Return the page; it shows the view that its address names."""
    return await page_response(request)
