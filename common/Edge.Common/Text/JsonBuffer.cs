using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Edge.Common.Text;

/// <summary>Writes JSON into a buffer that the thread keeps for its next: what is written often is short, and a buffer and a writer of its own are more garbage than it.</summary>
public static class JsonBuffer
{
    // A larger buffer is not kept: one list of everything would hold it for good.
    private const int KeptMax = 16 * 1024;

    private static readonly JsonWriterOptions s_writer = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    [ThreadStatic]
    private static (ArrayBufferWriter<byte> Buffer, Utf8JsonWriter Json)? s_kept;

    /// <summary>The bytes of what <paramref name="write"/> writes of <paramref name="state"/>; it must end every object and array that it begins. Letters beyond ASCII are not escaped.</summary>
    public static byte[] Bytes<T>(T state, Action<Utf8JsonWriter, T> write)
    {
        // Taken, not looked at: what throws in the middle of a value must not be used again, and what is written may itself need bytes of JSON.
        var (buffer, json) = s_kept ?? NewWriter();
        s_kept = null;
        write(json, state);
        json.Flush();
        var bytes = buffer.WrittenSpan.ToArray();
        if (buffer.Capacity <= KeptMax)
        {
            buffer.Clear(); // zeroes it, too: it may have been a Secret
            json.Reset();
            s_kept = (buffer, json);
        }

        return bytes;
    }

    private static (ArrayBufferWriter<byte> Buffer, Utf8JsonWriter Json) NewWriter()
    {
        var buffer = new ArrayBufferWriter<byte>(1024);
        return (buffer, new Utf8JsonWriter(buffer, s_writer));
    }
}
