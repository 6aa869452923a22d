using Microsoft.AspNetCore.Http;

namespace Edge.Cloud.CloudHub;

internal static class Respond
{
    /// <summary>The header of a refused WebSocket upgrade that says why; clients of WebSockets do not show the body.</summary>
    public const string ReasonHeader = "X-Refused-Because";

    private const int ReasonMax = 200;

    /// <summary>Refuses an upgrade with the reason as body and, cut to <see cref="ReasonMax"/> characters of ASCII, as header.</summary>
    public static Task RefuseAsync(HttpContext context, int code, string reason)
    {
        context.Response.Headers.Connection = "close";
        context.Response.Headers[ReasonHeader] = HeaderText(reason);
        return TextAsync(context, code, reason);
    }

    /// <summary>The text as a header can carry it: printable ASCII, anything else as '?', at most <see cref="ReasonMax"/> characters.</summary>
    public static string HeaderText(string text)
        => string.Create(Math.Min(text.Length, ReasonMax), text, static (span, from) =>
        {
            for (var i = 0; i < span.Length; i++)
                span[i] = from[i] is >= ' ' and <= '~' ? from[i] : '?';
        });

    public static Task TextAsync(HttpContext context, int code, string text)
    {
        context.Response.StatusCode = code;
        context.Response.ContentType = "text/plain; charset=utf-8";
        return context.Response.WriteAsync(text + "\n", context.RequestAborted);
    }

    public static async Task BytesAsync(HttpContext context, byte[] bytes)
    {
        context.Response.ContentType = "application/octet-stream";
        context.Response.ContentLength = bytes.Length;
        await context.Response.Body.WriteAsync(bytes, context.RequestAborted);
    }
}
