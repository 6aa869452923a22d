namespace Edge.Kubernetes;

/// <summary>The whole body of a request or an answer: its bytes, which client and server in the same process need not copy.</summary>
/// <param name="bytes">Not to be changed by anyone afterwards.</param>
public sealed class WholeContent(byte[] bytes) : ByteArrayContent(bytes)
{
    /// <summary>Not to be changed.</summary>
    public byte[] Bytes { get; } = bytes;
}
