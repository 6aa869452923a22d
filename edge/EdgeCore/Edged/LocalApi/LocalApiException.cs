namespace Edge.Core.Edged.LocalApi;

/// <summary>The local API cannot be served; the message says why and what to change.</summary>
internal sealed class LocalApiException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>A request that cannot be answered as asked, with the HTTP status and the sentence for the client.</summary>
internal sealed class LocalApiRefusal(int status, string message) : Exception(message)
{
    public int Status { get; } = status;
}
