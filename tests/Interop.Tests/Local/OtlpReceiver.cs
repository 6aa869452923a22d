using System.Collections.Concurrent;
using System.Text;
using Edge.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Edge.Interop.Tests;

/// <summary>A span as it came over OTLP.</summary>
internal sealed record ReceivedSpan(string Service, string TraceId, string SpanId, string ParentId, string Name);

/// <summary>Takes OTLP over HTTP (opentelemetry-proto, ExportTraceServiceRequest) on loopback and keeps the spans.</summary>
internal sealed class OtlpReceiver : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly SemaphoreSlim _exports = new(0);

    private OtlpReceiver(WebApplication app) => _app = app;

    public ConcurrentQueue<ReceivedSpan> Spans { get; } = new();

    /// <summary>Ends when another export has come.</summary>
    public async Task NextExportAsync() => Assert.True(await _exports.WaitAsync(Eventually.Within), "no export came");

    public string Endpoint => _app.Urls.First();

    public static async Task<OtlpReceiver> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var app = builder.Build();
        var receiver = new OtlpReceiver(app);
        app.MapPost("/v1/traces", async context =>
        {
            using var body = new MemoryStream();
            await context.Request.Body.CopyToAsync(body);
            receiver.Read(body.ToArray());
            receiver._exports.Release();
            context.Response.ContentType = "application/x-protobuf";
        });
        await app.StartAsync();
        return receiver;
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
        _exports.Dispose();
    }

    private void Read(byte[] request)
    {
        foreach (var (_, resourceSpans) in Fields(request).Where(field => field.Number == 1))
        {
            var service = "";
            foreach (var (_, resource) in Fields(resourceSpans).Where(field => field.Number == 1))
            {
                foreach (var (_, attribute) in Fields(resource).Where(field => field.Number == 1))
                {
                    var parts = Fields(attribute).ToDictionary(field => field.Number, field => field.Value);
                    if (Encoding.UTF8.GetString(parts[1]) == "service.name")
                        service = Encoding.UTF8.GetString(Fields(parts[2]).Single().Value);
                }
            }

            foreach (var (_, scope) in Fields(resourceSpans).Where(field => field.Number == 2))
            {
                foreach (var (_, span) in Fields(scope).Where(field => field.Number == 2))
                {
                    var parts = Fields(span).GroupBy(field => field.Number).ToDictionary(group => group.Key, group => group.First().Value);
                    Spans.Enqueue(new ReceivedSpan(
                        service, Convert.ToHexStringLower(parts[1]), Convert.ToHexStringLower(parts[2]), Convert.ToHexStringLower(parts.GetValueOrDefault(4, [])), Encoding.UTF8.GetString(parts[5])));
                }
            }
        }
    }

    // Protocol Buffers' wire format; of numbers only their end matters here.
    private static List<(int Number, byte[] Value)> Fields(byte[] message)
    {
        var fields = new List<(int, byte[])>();
        var at = 0;
        ulong Varint()
        {
            var value = 0UL;
            for (var shift = 0; ; shift += 7)
            {
                var one = message[at++];
                value |= (ulong)(one & 0x7F) << shift;
                if (one < 0x80)
                    return value;
            }
        }

        while (at < message.Length)
        {
            var key = Varint();
            switch (key & 7)
            {
                case 0:
                    Varint();
                    break;
                case 1:
                    at += 8;
                    break;
                case 5:
                    at += 4;
                    break;
                default:
                    var length = (int)Varint();
                    fields.Add(((int)(key >> 3), message[at..(at + length)]));
                    at += length;
                    break;
            }
        }

        return fields;
    }
}
