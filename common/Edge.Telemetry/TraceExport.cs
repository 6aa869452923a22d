using System.Runtime.CompilerServices;
using Edge.Common.Tracing;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Edge.Telemetry;

/// <summary>Sends the spans of <see cref="EdgeTrace"/> to an OTLP receiver. A project of its own, so that nothing else knows the exporter.</summary>
public static class TraceExport
{
    private const string Variable = "OTEL_EXPORTER_OTLP_ENDPOINT";

    /// <summary>Starts the export; null, and nothing of the exporter is loaded, where neither the config nor OTEL_EXPORTER_OTLP_ENDPOINT names a receiver. Dispose it to send what is left
    /// (within 5 s).</summary>
    /// <param name="endpoint">commonConfig.tracing.endpoint: OTLP over HTTP, e.g. <c>http://127.0.0.1:4318</c>; empty for the variable, which OTEL_EXPORTER_OTLP_PROTOCOL goes with.</param>
    /// <param name="service">The process, <c>service.name</c>.</param>
    /// <param name="instance">Which of several, <c>service.instance.id</c>.</param>
    public static IDisposable? Start(string endpoint, string service, string instance)
        => endpoint.Length == 0 && string.IsNullOrEmpty(Environment.GetEnvironmentVariable(Variable)) ? null : Open(endpoint, service, instance);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Exporting Open(string endpoint, string service, string instance)
        => new(Sdk.CreateTracerProviderBuilder()
            .AddSource(EdgeTrace.SourceName)
            .ConfigureResource(resource => resource.AddService(service, serviceInstanceId: instance))
            .AddOtlpExporter(options =>
            {
                if (endpoint.Length == 0)
                    return;
                options.Protocol = OtlpExportProtocol.HttpProtobuf;
                options.Endpoint = new Uri(endpoint.TrimEnd('/') + "/v1/traces");
            })
            .Build());

    private sealed class Exporting(TracerProvider provider) : IDisposable
    {
        public void Dispose()
        {
            provider.Shutdown(5000);
            provider.Dispose();
        }
    }
}
