using System.Buffers;
using System.IO.Pipelines;
using Microsoft.Win32.SafeHandles;

namespace Edge.Core.Edged.LocalApi;

/// <summary>Copies a container's log file to a reader, and follows it: as it grows, when it is cut to nothing, and when it is renamed and another takes
/// its place. Memory is a block, whatever the file's size; a slow reader slows the reading.</summary>
internal sealed class LogFileReader(TimeProvider time)
{
    private const int BlockSize = 32 * 1024;

    // Looking costs two system calls; asking the runtime costs more.
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan s_ask = TimeSpan.FromSeconds(1);

    /// <summary>Copies until the end of the file, or when following until the container has ended or the reader is gone.</summary>
    /// <param name="isRunning">Whether more may be written; asked about once a second while nothing is.</param>
    /// <returns>Lines that were left out because they are no lines of a CRI log.</returns>
    /// <exception cref="IOException">The file cannot be read; <see cref="FileNotFoundException"/> when it is not there.</exception>
    public async Task<long> CopyAsync(
        string path, ContainerLogOptions options, Func<CancellationToken, Task<bool>> isRunning, PipeWriter output, CancellationToken cancellationToken)
    {
        var file = Open(path);
        try
        {
            var name = NameOf(file);
            var decoder = new CriLogDecoder(options.Since, options.Timestamps, options.LimitBytes);
            var offset = options.TailLines is { } lines ? LogTail.FindStart(file, RandomAccess.GetLength(file), lines) : 0;
            var asked = time.GetTimestamp();
            var ended = false;
            var renamed = false;
            while (true)
            {
                var (read, full) = await CopyBlockAsync(file, offset, decoder, output, cancellationToken).ConfigureAwait(false);
                if (full)
                    return decoder.Malformed;
                offset += read;
                if (read > 0)
                    continue;
                if (!options.Follow)
                    return decoder.Malformed;
                if (renamed && File.Exists(path))
                {
                    // What came between the last look and the renaming has been read: the old file is done.
                    file.Dispose();
                    file = Open(path);
                    (name, offset, renamed) = (NameOf(file), 0, false);
                    decoder.EndOfFile();
                    continue;
                }

                if (!renamed && NameOf(file) != name)
                {
                    renamed = true;
                    continue;
                }

                if (RandomAccess.GetLength(file) < offset)
                {
                    offset = 0;
                    decoder.EndOfFile();
                    continue;
                }

                if (ended)
                    return decoder.Malformed;
                if (time.GetElapsedTime(asked) >= s_ask)
                {
                    // What it wrote before it ended is read once more.
                    ended = !await isRunning(cancellationToken).ConfigureAwait(false);
                    asked = time.GetTimestamp();
                    continue;
                }

                await Task.Delay(s_look, time, cancellationToken).ConfigureAwait(false);
            }
        }
        finally
        {
            file.Dispose();
        }
    }

    private static async Task<(int Read, bool Full)> CopyBlockAsync(
        SafeFileHandle file, long offset, CriLogDecoder decoder, PipeWriter output, CancellationToken cancellationToken)
    {
        var block = ArrayPool<byte>.Shared.Rent(BlockSize);
        try
        {
            var read = RandomAccess.Read(file, block.AsSpan(0, BlockSize), offset);
            if (read == 0)
                return (0, decoder.IsFull);
            decoder.Feed(block.AsSpan(0, read), output);
            var flushed = await output.FlushAsync(cancellationToken).ConfigureAwait(false);
            return (read, decoder.IsFull || flushed.IsCompleted);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(block);
        }
    }

    private static SafeFileHandle Open(string path) => File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);

    // The name under which the open file lies now; it changes when the file is renamed or removed (proc(5), /proc/pid/fd).
    private static string NameOf(SafeFileHandle file) => new FileInfo($"/proc/self/fd/{file.DangerousGetHandle()}").LinkTarget ?? "";
}
